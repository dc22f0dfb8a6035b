//! Those who submit, and the account they give in the end.

use millpond_pool_core::{InstanceEvent, InstanceGauges, Limits, OwnedPermit, RequestId};

use crate::host::{Host, Item, Pool, exclusive, finish, finish_abandoned, handed_over, shared};
use crate::mode::block_on;
use crate::mode::thread::{self, JoinHandle};

/// What a caller knows of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It got a response.
    Answered,
    /// It was told that none will come.
    Told,
    /// It went away.
    Left,
}

pub(super) type Account = (RequestId, Claim);
pub(super) type Claims = Vec<Account>;
pub(super) type Permit = OwnedPermit<Host>;

/// Two instances that take one request after another, and a queue for one.
pub(super) fn two_exclusive() -> Limits {
    let mut limits = exclusive();
    limits.max_instances = 2;
    limits.max_queue = 1;
    limits
}

/// Two instances that take two requests at a time, and a queue for one.
pub(super) fn two_shared() -> Limits {
    let mut limits = shared();
    limits.max_instances = 2;
    limits.max_queue = 1;
    limits
}

/// Waits for a permit. `None`: the pool drains.
pub(super) fn permit(pool: &Pool) -> Option<Permit> {
    block_on(pool.reserve()).ok()
}

/// Looks at the pool, at a moment like any other.
pub(super) fn observe(pool: &Pool) {
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.unaccounted(), 0, "{snapshot:?}");
}

/// Callers with two requests each. The first of all does not wait for its answer.
pub(super) fn crowd(pool: &Pool) -> [JoinHandle<Claims>; 3] {
    [0, 1, 2].map(|caller| {
        let pool = pool.clone();
        thread::spawn(move || {
            let mut claims = Claims::new();
            for round in [0, 1] {
                let permit = permit(&pool).expect("not draining");
                claims.push(match (caller, round) {
                    (0, 0) => leave(&pool, permit),
                    _ => see_through(&pool, permit),
                });
            }
            claims
        })
    })
}

/// Submits a request and waits for what comes of it; plays the guest that gets it. Every other one waits
/// for its host in the middle.
pub(super) fn see_through(pool: &Pool, permit: Permit) -> Account {
    let mut request = pool.submit(permit, Item::default());
    let request_id = request.request_id();
    observe(pool);
    if let Some(on) = handed_over(pool, request_id) {
        if request_id.number().is_multiple_of(2) {
            pool.report(on, InstanceEvent::Pinned(request_id));
            observe(pool);
            pool.report(on, InstanceEvent::Resumed(request_id));
        }
        if pool.responded(request_id) {
            observe(pool);
            finish(&mut request, on);
            return (request_id, Claim::Answered);
        }
    }
    block_on(pool.driver().hear(request_id));
    request.over();
    observe(pool);
    (request_id, Claim::Told)
}

/// Submits a request and goes away.
pub(super) fn leave(pool: &Pool, permit: Permit) -> Account {
    let request = pool.submit(permit, Item::default());
    let request_id = request.request_id();
    observe(pool);
    drop(request);
    observe(pool);
    (request_id, Claim::Left)
}

/// Waits for the callers, and lets the guests finish the requests of those that left. Only the callers
/// may have changed the pool.
pub(super) fn join(pool: &Pool, callers: impl IntoIterator<Item = JoinHandle<Claims>>) -> Claims {
    let claims: Claims = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    for (request_id, _) in claims.iter().filter(|(_, claim)| *claim == Claim::Left) {
        finish_abandoned(pool, *request_id);
    }
    claims
}

/// Drains the pool, lets go of it, and settles accounts. A reaper must end with the pool.
pub(super) fn close(pool: Pool, reaper: Option<JoinHandle<()>>, claims: &Claims) {
    block_on(pool.drain());
    let snapshot = pool.snapshot();
    let journal = pool.driver().journal();
    drop(pool);
    if let Some(reaper) = reaper {
        // When it ends, it has told all that it had to tell.
        reaper.join().unwrap();
    }

    let gauges = [
        snapshot.permits_free,
        snapshot.permits_reserved,
        snapshot.queued,
        snapshot.starting,
        snapshot.busy,
        snapshot.pinned,
        snapshot.streaming,
        snapshot.abandoned,
    ];
    assert_eq!(gauges, [0; 8], "{snapshot:?}");
    assert_eq!(snapshot.instances, InstanceGauges::default());

    let journal = journal.lock().unwrap();
    assert!(journal.guests.is_empty(), "no instance is left");
    let (mut answered, mut told, mut left) = (0, 0, 0);
    for (request_id, claim) in claims {
        match (claim, journal.told(*request_id)) {
            (Claim::Answered, None) => answered += 1,
            (Claim::Told | Claim::Left, Some(_)) => told += 1,
            (Claim::Left, None) => left += 1,
            contradiction => panic!("{request_id:?}: {contradiction:?}"),
        }
    }
    assert_eq!(snapshot.unaccounted(), 0, "{snapshot:?}");
    assert_eq!(snapshot.submitted, claims.len() as u64);
    let counted = (snapshot.responded, snapshot.failed + snapshot.refused, snapshot.cancelled);
    assert_eq!(counted, (answered, told, left), "{claims:?}: {snapshot:?}");
}

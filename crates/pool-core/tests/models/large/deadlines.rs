//! Guests that never answer: the reaper ends what they were given.

use millpond_pool_core::Limits;

use super::callers::{
    Account, Claim, Claims, Permit, close, leave, observe, permit, see_through, two_exclusive,
    two_shared,
};
use crate::host::{Item, Pool, handed_over, pool, run, secs};
use crate::mode::{block_on, explore_large, thread};

/// Longer than any timeout.
const LONG: u64 = 100;

/// Submits a request, and lets time pass once a guest has it, so that its timeout ends it.
fn hang(pool: &Pool, permit: Permit) -> Account {
    let mut request = pool.submit(permit, Item::default());
    let request_id = request.request_id();
    if handed_over(pool, request_id).is_some() {
        observe(pool);
        pool.driver().clock.advance(LONG);
        block_on(pool.driver().hear(request_id));
    }
    request.over();
    observe(pool);
    (request_id, Claim::Told)
}

fn hanging(limits: fn() -> Limits) {
    explore_large(move || {
        let mut limits = limits();
        limits.queue_timeout = secs(5);
        let (pool, reaper) = pool(limits);
        let reaper = run(reaper);
        let roles: [fn(&Pool, Permit) -> Account; 4] = [hang, hang, see_through, leave];
        let callers = roles.map(|role| {
            let pool = pool.clone();
            thread::spawn(move || -> Claims {
                let permits = (0..2).filter_map(|_| permit(&pool));
                permits.map(|permit| role(&pool, permit)).collect()
            })
        });
        let claims: Claims = callers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        assert_eq!(claims.len(), 8, "the pool does not drain");
        // What was abandoned on a shared instance ends by its timeouts too.
        pool.driver().clock.advance(LONG);
        close(pool, Some(reaper), &claims);
    });
}

#[test]
fn callers_of_hung_guests_time_out() {
    hanging(two_exclusive);
}

#[test]
fn callers_of_hung_shared_guests_time_out() {
    hanging(two_shared);
}

//! Those who submit, and those who play the guests.

use millpond_pool_core::{
    InstanceEvent, InstanceId, Lease, OwnedPermit, RequestId, Submitted, Usage,
};

use super::journal::Life;
use super::{Guest, Host, Item, Pool};
use crate::mode::block_on;

/// A start is complete.
pub(crate) fn begun(pool: &Pool, id: InstanceId) {
    pool.report(id, InstanceEvent::Started);
    pool.driver().write(|journal| {
        if let Some(guest) = journal.guests.get_mut(&id) {
            guest.life = Life::Running;
        }
    });
}

pub(crate) fn reserve(pool: &Pool) -> OwnedPermit<Host> {
    pool.try_reserve().expect("a permit is free")
}

pub(crate) fn submit(pool: &Pool) -> Submitted<Host> {
    pool.submit(reserve(pool), Item::default())
}

/// The guest that has the request answers it: head, body, quiet. False: no guest has it, or no caller
/// waits for it.
pub(crate) fn answer(mut request: Submitted<Host>) -> bool {
    let pool = request.pool().clone();
    let Some(on) = pool.driver().holder(request.request_id()) else { return false };
    if !pool.responded(request.request_id()) {
        return false;
    }
    finish(&mut request, on);
    true
}

/// Waits until a guest that runs has the request, and says which. `None`: its caller was told that
/// no response will come.
pub(crate) fn handed_over(pool: &Pool, request_id: RequestId) -> Option<InstanceId> {
    block_on(pool.driver().read(|journal| {
        if journal.told(request_id).is_some() {
            return Some(None);
        }
        let holder = journal.holder(request_id)?;
        (journal.guests[&holder].life == Life::Running).then_some(Some(holder))
    }))
}

/// A guest goes on with a request that its caller left, and comes to its end.
pub(crate) fn finish_abandoned(pool: &Pool, request_id: RequestId) {
    let Some(on) = pool.driver().holder(request_id) else { return };
    assert!(!pool.responded(request_id), "no caller waits for it");
    if pool.driver().release(on, request_id) {
        pool.report(on, InstanceEvent::Quiet);
    }
}

/// The body of a response has ended.
pub(crate) fn finish(request: &mut Submitted<Host>, on: InstanceId) {
    let pool = request.pool().clone();
    let quiet = pool.driver().release(on, request.request_id());
    request.ended(on);
    if quiet {
        pool.report(on, InstanceEvent::Quiet);
    }
}

/// The same, reported with its being quiet: it has no other request.
pub(crate) fn finish_in_one(mut request: Submitted<Host>, on: InstanceId) {
    let pool = request.pool().clone();
    assert!(pool.driver().release(on, request.request_id()));
    pool.report_all(on, [InstanceEvent::Ended(request.request_id()), InstanceEvent::Quiet]);
    request.over();
}

/// A request whose guest, which has it at once, waits for the host between two calls.
pub(crate) fn pinned(pool: &Pool) -> Lease<Host> {
    let request = submit(pool);
    let given = pool.driver().given.as_ref().expect("a host with leases");
    let instance =
        given.lock().unwrap().remove(&request.request_id()).expect("handed over at once");
    let mut lease = request.lease(instance);
    lease.pin();
    lease
}

/// The guest has made its last call for the request.
pub(crate) fn release(lease: Lease<Host>) -> bool {
    release_with(lease, Usage::default())
}

/// The same, and holds so much.
pub(crate) fn release_with(lease: Lease<Host>, usage: Usage) -> bool {
    lease.pool().driver().release(lease.instance().id(), lease.request_id());
    lease.release(usage)
}

/// The guest gives up on the request, says so to its caller, and is quiet.
pub(crate) fn fail(lease: Lease<Host>) {
    let (pool, id) = (lease.pool().clone(), lease.instance().id());
    pool.driver().release(id, lease.request_id());
    lease.failed();
    pool.report(id, InstanceEvent::Quiet);
}

/// Nothing is left of any request, and each had one outcome.
pub(crate) fn check_empty(pool: &Pool) {
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.unaccounted(), 0, "{snapshot:?}");
    assert_eq!(pool.load(), 0, "{snapshot:?}");
    assert_eq!(snapshot.permits_reserved, 0, "{snapshot:?}");
    let instances = &snapshot.instances;
    assert_eq!(instances.live(), instances.idle, "{snapshot:?}");
    let journal = pool.driver().journal.lock().unwrap();
    assert_eq!(journal.guests.len(), instances.live(), "the driver agrees");
    let at_rest = |guest: &Guest| guest.life == Life::Running && guest.holds.is_empty();
    assert!(journal.guests.values().all(at_rest));
}

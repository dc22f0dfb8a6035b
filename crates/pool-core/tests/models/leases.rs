//! Leases, against what can end them: the first to act decides, and nothing is left.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use millpond_pool_core::expiration::{boxed, from_fn};
use millpond_pool_core::{
    Failure, InstanceEvent, InstanceId, Lease, Reason, RequestId, Snapshot, Status, Usage,
};

use crate::clock::Task;
use crate::host::{
    Host, Pool, Told, answer, check_empty, exclusive, fail, pinned, release, release_with, step,
    submit,
};
use crate::mode::{block_on, explore, thread};

fn pool() -> (Pool, Task) {
    Host::new(exclusive()).leased().open()
}

/// Makes the next call, and releases the lease. False: no caller waits for it.
fn second_half(mut lease: Lease<Host>) -> bool {
    lease.resume();
    release(lease)
}

/// The request had one outcome: an answer, or its caller was told this.
fn check_one_outcome(
    pool: &Pool,
    request_id: RequestId,
    waits: bool,
    failure: Failure,
) -> Snapshot {
    let told = pool.driver().told(request_id);
    assert_eq!(told, (!waits).then_some(Told::Failed(failure)));
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.failed), (waits.into(), (!waits).into()));
    assert_eq!(snapshot.cancelled, 0);
    check_empty(pool);
    snapshot
}

/// The second half beside something that ends the instance.
fn second_half_while(end: fn(&Pool, InstanceId), reason: Reason) {
    explore(move || {
        let (pool, _) = pool();
        let lease = pinned(&pool);
        let (id, request_id) = (lease.instance().id(), lease.request_id());
        let other = pool.clone();
        let ending = thread::spawn(move || end(&other, id));
        let waits = second_half(lease);
        ending.join().unwrap();
        let snapshot = check_one_outcome(&pool, request_id, waits, Failure::Retired(reason));
        assert_eq!((snapshot.retired.get(reason), snapshot.instances.live()), (1, 0));
    });
}

#[test]
fn second_half_or_pool_stop_wins() {
    second_half_while(|pool, _| pool.stop(), Reason::Drain);
}

#[test]
fn second_half_or_instance_end_wins() {
    let breaks = |pool: &Pool, id| pool.report(id, InstanceEvent::Broken(Reason::Trap));
    second_half_while(breaks, Reason::Trap);
}

#[test]
fn release_or_timeout_wins_at_the_deadline() {
    explore(|| {
        let (pool, mut reaper) = pool();
        step(&mut reaper);
        let mut lease = pinned(&pool);
        lease.resume();
        let request_id = lease.request_id();
        pool.driver().clock.set(30);
        let reaping = thread::spawn(move || step(&mut reaper));
        let waits = release(lease);
        reaping.join().unwrap();
        check_one_outcome(&pool, request_id, waits, Failure::RequestTimeout);
    });
}

#[test]
fn a_resume_at_the_deadline_resets_it() {
    explore(|| {
        let (pool, mut reaper) = pool();
        step(&mut reaper);
        let mut lease = pinned(&pool);
        let request_id = lease.request_id();
        pool.driver().clock.set(30);
        let reaping = thread::spawn(move || {
            step(&mut reaper);
            reaper
        });
        lease.resume();
        let mut reaper = reaping.join().unwrap();
        step(&mut reaper);
        assert_eq!(pool.driver().told(request_id), None);
        pool.driver().clock.set(60);
        step(&mut reaper);
        assert!(!release(lease));
        check_one_outcome(&pool, request_id, false, Failure::RequestTimeout);
    });
}

#[test]
fn a_drain_awaits_the_second_half() {
    explore(|| {
        let (pool, _) = pool();
        let lease = pinned(&pool);
        let draining = pool.clone();
        let draining = thread::spawn(move || block_on(draining.drain()));
        assert!(second_half(lease), "nothing ends it");
        draining.join().unwrap();
        assert_eq!(pool.snapshot().instances.live(), 0);
        check_empty(&pool);
    });
}

#[test]
fn a_responded_lease_keeps_its_outcome() {
    explore(|| {
        let (pool, mut reaper) = pool();
        step(&mut reaper);
        let mut lease = pinned(&pool);
        let (id, request_id) = (lease.instance().id(), lease.request_id());
        assert!(lease.respond());
        lease.progress();
        // Later than any request may wait for its head.
        pool.driver().clock.set(60);
        step(&mut reaper);
        let other = pool.clone();
        let ending = thread::spawn(move || other.report(id, InstanceEvent::Broken(Reason::Trap)));
        assert!(release(lease), "the caller has had its head");
        ending.join().unwrap();
        check_one_outcome(&pool, request_id, true, Failure::RequestTimeout);
    });
}

#[test]
fn dropping_a_lease_beside_a_request() {
    explore(|| {
        let (pool, _) = pool();
        let lease = pinned(&pool);
        let leaving = thread::spawn(move || drop(lease));
        let request = submit(&pool);
        leaving.join().unwrap();
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.cancelled, snapshot.retired.get(Reason::Cancelled)), (1, 1));
        assert!(answer(request), "another instance has it");
        check_empty(&pool);
    });
}

#[test]
fn a_released_lease_serves_the_next_request() {
    explore(|| {
        let (pool, _) = pool();
        let lease = pinned(&pool);
        let leaving = thread::spawn(move || second_half(lease));
        let request = submit(&pool);
        assert!(leaving.join().unwrap(), "it has seen no other request before its end");
        assert!(answer(request));
        assert_eq!(pool.snapshot().starts, 1, "the same instance");
        check_empty(&pool);
    });
}

#[test]
fn a_failed_request_is_not_cancelled() {
    explore(|| {
        let (pool, _) = pool();
        let lease = pinned(&pool);
        let (id, request_id) = (lease.instance().id(), lease.request_id());
        assert_eq!(lease.pool().snapshot().pinned, 1);
        fail(lease);
        check_empty(&pool);

        let lease = pinned(&pool);
        assert_eq!(lease.instance().id(), id);
        assert_ne!(lease.request_id(), request_id);
        assert!(release(lease), "pinned or not");
        check_empty(&pool);
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.responded, snapshot.failed, snapshot.cancelled), (1, 1, 0));
        assert_eq!((snapshot.starts, snapshot.retired.total()), (1, 0));
    });
}

#[test]
fn a_policy_sees_the_state_after_a_release() {
    explore(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = Arc::clone(&seen);
        let policy = move || {
            let seen = Arc::clone(&seeing);
            boxed(from_fn(move |cx| {
                seen.lock().unwrap().push((cx.view().status, cx.view().memory));
                Poll::Pending
            }))
        };
        let (pool, _) = Host::new(exclusive()).leased().policy(policy).open();
        let lease = pinned(&pool);
        assert_eq!(*seen.lock().unwrap(), [(Status::Busy, 0), (Status::Pinned, 0)]);
        seen.lock().unwrap().clear();
        let mut usage = Usage::default();
        usage.memory = 7;
        assert!(release_with(lease, usage));
        assert_eq!(*seen.lock().unwrap(), [(Status::Idle, 7)], "in one turn");
        check_empty(&pool);
    });
}

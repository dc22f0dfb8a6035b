//! Permits: as many as seats and queue places under the limits of the moment.

use crate::common::{Rig, exclusive, secs, shared, with};
use millpond_pool_core::{MaxRequests, Refusal};

#[test]
fn seats_and_queue_bound_the_permits() {
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.max_queue = 2));
    let granted: Vec<bool> = (0..10).map(|_| rig.reserve().is_ok()).collect();
    assert_eq!(granted.iter().filter(|granted| **granted).count(), 4);
    assert_eq!(rig.reserve(), Err(Refusal::Overloaded));
    for _ in 0..4 {
        rig.submit_reserved();
    }
    assert_eq!(rig.take(), ["start 1 for 1", "start 2 for 2"]);
    assert_eq!(rig.pool.snapshot().queued, 2);
    assert_eq!(rig.reserve(), Err(Refusal::Overloaded), "a permit spent is a place taken");
}

#[test]
fn a_permit_given_back_is_a_place_again() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.max_queue = 0));
    assert_eq!(rig.reserve(), Ok(()));
    assert_eq!(rig.reserve(), Err(Refusal::Overloaded));
    rig.release();
    assert_eq!(rig.reserve(), Ok(()));
}

#[test]
fn lowering_a_limit_takes_no_permit_back() {
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.max_queue = 2));
    for _ in 0..4 {
        assert_eq!(rig.reserve(), Ok(()));
    }
    rig.set_limits(with(exclusive(1), |limits| limits.max_queue = 0));
    assert_eq!(rig.pool.snapshot().permits_reserved, 4);
    for _ in 0..4 {
        rig.submit_reserved();
    }
    assert_eq!(rig.take(), ["start 1 for 1"], "all four are good, none was refused");
    rig.started(1);
    rig.finish(1);
    rig.finish(2);
    rig.finish(3);
    assert_eq!(rig.reserve(), Err(Refusal::Overloaded), "one is left, and there is one seat");
    rig.finish(4);
    assert_eq!(rig.reserve(), Ok(()));
}

#[test]
fn seats_are_instances_times_concurrency() {
    let mut rig = Rig::new(with(shared(3, 5), |limits| limits.max_queue = 7));
    assert_eq!(rig.pool.permits_free(), 22);
    rig.set_limits(with(shared(3, 5), |limits| {
        limits.max_queue = 7;
        limits.max_running = Some(4);
    }));
    assert_eq!(rig.pool.permits_free(), 11);
}

#[test]
fn an_open_body_holds_its_permit() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.max_queue = 0));
    rig.submit();
    rig.started(1);
    assert_eq!(rig.pool.permits_free(), 0);
    assert!(rig.responded(1));
    assert_eq!(rig.pool.permits_free(), 0);
    rig.ended(1);
    assert_eq!(rig.pool.permits_free(), 1);
}

#[test]
fn an_abandoned_request_holds_its_permit() {
    let mut rig = Rig::new(with(shared(1, 2), |limits| limits.max_queue = 0));
    rig.submit();
    rig.started(1);
    rig.cancel(1);
    assert_eq!((rig.pool.permits_free(), rig.pool.snapshot().abandoned), (1, 1));
    assert!(!rig.responded(1));
    assert_eq!((rig.pool.permits_free(), rig.pool.snapshot().abandoned), (2, 0));
}

#[test]
fn every_end_gives_the_permit_back() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.max_queue = 1));
    rig.submit_many(2);
    rig.started(1);
    rig.at(secs(5));
    assert_eq!(rig.pool.permits_free(), 1, "refused");
    rig.submit();
    rig.cancel(3);
    assert_eq!(rig.pool.permits_free(), 1, "cancelled");
    rig.failed(1);
    assert_eq!(rig.pool.permits_free(), 2, "failed");
}

#[test]
fn without_instances_requests_only_queue() {
    let mut rig = Rig::new(with(exclusive(0), |limits| limits.max_queue = 1));
    rig.submit();
    assert_eq!(rig.reserve(), Err(Refusal::Overloaded));
    rig.at(secs(5));
    assert_eq!(rig.take(), ["refuse 1: queue-timeout"]);
}

#[test]
fn the_largest_limits_overflow_nowhere() {
    let mut rig = Rig::new(with(shared(usize::MAX, usize::MAX), |limits| {
        limits.max_queue = usize::MAX;
        limits.max_running = Some(usize::MAX);
        limits.max_requests = MaxRequests::exactly(u64::MAX);
    }));
    assert_eq!(rig.pool.permits_free(), usize::MAX);
    rig.submit_many(2);
    rig.started(1);
    rig.at(secs(1));
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "start 2"]);
    rig.settled(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.submit();
    assert_eq!(rig.take(), [""; 0], "two instances will have more room than can be counted");
}

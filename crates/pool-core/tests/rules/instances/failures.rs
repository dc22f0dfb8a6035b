//! Starts that fail, guests that trap, allocators that are full: how far the damage reaches.

use crate::common::{Rig, exclusive, secs, shared, with};
use millpond_pool_core::Reason;

#[test]
fn a_failed_start_fails_only_its_request() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.take();
    rig.start_failed(1);
    assert_eq!(rig.take(), ["start 2 for 2"], "its driver has told the caller of 1");
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.refused, snapshot.failed_starts), (1, 1));
    assert_eq!(snapshot.retired.get(Reason::Host), 1);
}

#[test]
fn a_failed_shared_start_costs_one_request() {
    let mut rig = Rig::new(shared(1, 16));
    rig.submit_many(3);
    rig.take();
    rig.start_failed(1);
    assert_eq!(rig.take(), ["refuse 1: instantiation-failed", "start 2"]);
    rig.start_failed(2);
    assert_eq!(rig.take(), ["refuse 2: instantiation-failed", "start 3"]);
    rig.started(3);
    assert_eq!(rig.take(), ["assign 3 to 3"]);
}

#[test]
fn a_failed_start_may_have_no_request_left() {
    let mut rig = Rig::new(shared(2, 2));
    rig.submit_many(3);
    rig.started(1);
    rig.settled(1);
    rig.failed(1);
    rig.settled(1);
    assert_eq!(
        rig.take(),
        ["start 1", "start 2", "assign 1 to 1", "assign 2 to 1", "assign 3 to 1"]
    );
    rig.start_failed(2);
    assert_eq!(rig.take(), [""; 0]);
    assert_eq!(rig.pool.snapshot().refused, 0);
}

#[test]
fn a_failed_start_after_a_cancel_costs_none() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit_many(2);
    rig.cancel(1);
    rig.start_failed(1);
    assert_eq!(rig.take(), ["start 1", "start 2"], "for request 2");
    assert_eq!(rig.pool.snapshot().refused, 0);
}

#[test]
fn a_trap_requeues_unstarted_in_order() {
    let mut rig = Rig::new(shared(2, 4));
    rig.submit_many(4);
    rig.started(1);
    for _ in 0..3 {
        rig.settled(1);
    }
    rig.submit();
    rig.take();
    rig.broken(1, Reason::Trap);
    assert_eq!(rig.take(), ["retire 1: trap"]);
    rig.failed(1);
    rig.returned(4);
    rig.returned(2);
    rig.returned(3);
    rig.dropped(1);
    rig.started(2);
    for _ in 0..4 {
        rig.settled(2);
    }
    let again = ["assign 2 to 2", "assign 3 to 2", "assign 4 to 2", "assign 5 to 2"];
    assert_eq!(rig.take(), again);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.failed, snapshot.busy), (1, 4));
    assert_eq!(snapshot.retired.get(Reason::Trap), 1);
}

#[test]
fn a_broken_instance_takes_no_more_requests() {
    let mut rig = Rig::new(shared(2, 4));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.broken(1, Reason::Exit);
    rig.settled(1);
    rig.submit();
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "retire 1: exit", "start 2"]);
}

#[test]
fn requests_on_a_dropped_instance_fail() {
    let mut rig = Rig::new(shared(1, 4));
    rig.submit_many(4);
    rig.started(1);
    for _ in 0..4 {
        rig.settled(1);
    }
    assert!(rig.responded(1));
    rig.cancel(2);
    rig.broken(1, Reason::Trap);
    rig.take();
    rig.dropped(1);
    assert_eq!(rig.take(), ["fail 3: retired, trap", "fail 4: retired, trap"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.cancelled, snapshot.failed), (1, 1, 2));
    assert_eq!(rig.pool.load(), 0);
}

#[test]
fn a_vanished_store_is_the_hosts_doing() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.dropped(1);
    let gone = ["start 1 for 1", "retire 1: host", "fail 1: retired, host"];
    assert_eq!(rig.take(), gone, "even while it starts");
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.refused, snapshot.failed), (1, 0), "no guest saw it");
    assert_eq!(snapshot.retired.get(Reason::Host), 1);
}

#[test]
fn the_first_reason_counts() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.broken(1, Reason::Trap);
    rig.broken(1, Reason::Exit);
    rig.cancel(1);
    rig.dropped(1);
    let retired = rig.pool.snapshot().retired;
    assert_eq!((retired.get(Reason::Trap), retired.total()), (1, 1));
}

#[test]
fn a_returned_overdue_request_is_refused() {
    let mut rig = Rig::new(with(shared(1, 2), |limits| limits.queue_timeout = secs(5)));
    rig.submit();
    rig.started(1);
    rig.at(secs(2));
    rig.broken(1, Reason::Trap);
    rig.returned(1);
    rig.take();
    rig.at(secs(5));
    assert_eq!(rig.take(), ["refuse 1: queue-timeout"]);
}

#[test]
fn a_returned_request_is_not_given_back() {
    let mut rig = Rig::new(shared(2, 2)).budgeted();
    rig.submit();
    rig.grant();
    rig.started(1);
    rig.take();
    rig.returned(1);
    assert_eq!(rig.take(), [""; 0], "it may be about to say that it is broken");
    assert_eq!(rig.claim().idle, 0, "nothing that a budget could ask for");
    rig.settled(1);
    assert_eq!(rig.take(), ["assign 1 to 1"]);
}

#[test]
fn the_budget_hears_only_of_dropped_stores() {
    let mut rig = Rig::new(exclusive(4)).budgeted();
    rig.submit_many(3);
    (0..3).for_each(|_| rig.grant());
    rig.exhausted(3);
    assert_eq!(rig.claim().dropped, 0, "it had no store");
    rig.start_failed(2);
    assert_eq!(rig.claim().dropped, 1);
    rig.started(1);
    rig.broken(1, Reason::Trap);
    assert_eq!(rig.claim().dropped, 1, "its store is still there");
    rig.dropped(1);
    assert_eq!(rig.claim().dropped, 2);
}

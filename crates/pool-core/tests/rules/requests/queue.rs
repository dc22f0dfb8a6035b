//! The queue: first come, first served, each with a deadline of its own.

use std::time::Duration;

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};

#[test]
fn requests_are_served_in_order() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(3);
    assert_eq!(rig.take(), ["start 1 for 1"]);
    rig.started(1);
    rig.finish(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.finish(2);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
    assert_eq!(rig.pool.snapshot().queued, 0);
}

#[test]
fn a_queue_timeout_refuses_the_request() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    assert_eq!(rig.timeout(), Some(secs(5)));
    rig.jump(secs(5) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.jump(secs(5));
    assert_eq!(rig.take(), ["refuse 2: queue-timeout"]);
    rig.finish(1);
    rig.at(secs(20));
    assert_eq!(rig.take(), [""; 0], "the instance is free, and no request waits");
}

#[test]
fn each_request_has_its_own_deadline() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.at(secs(1));
    rig.submit();
    rig.take();
    rig.at(secs(5));
    assert_eq!(rig.take(), ["refuse 2: queue-timeout"]);
    rig.at(secs(6));
    assert_eq!(rig.take(), ["refuse 3: queue-timeout"]);
    assert_eq!(rig.pool.snapshot().refused, 2);
}

#[test]
fn a_late_timeout_refuses_all_that_are_due() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(4);
    rig.started(1);
    rig.take();
    rig.jump(secs(9));
    let refused = ["refuse 2: queue-timeout", "refuse 3: queue-timeout", "refuse 4: queue-timeout"];
    assert_eq!(rig.take(), refused);
}

#[test]
fn hand_over_ends_the_queue_deadline() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.at(secs(4));
    rig.finish(1);
    assert_eq!(rig.take(), ["start 1 for 1", "assign 2 to 1"]);
    rig.at(secs(33));
    assert_eq!(rig.take(), [""; 0], "handed over at 4 s, it has until 34 s");
}

#[test]
fn no_queue_timeout_waits_for_ever() {
    let mut rig = Rig::new(with(exclusive(1), |limits| {
        limits.queue_timeout = NEVER;
        limits.request_timeout = NEVER;
    }));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    assert_eq!(rig.timeout(), Some(secs(10)), "only the timer of the start is left");
    rig.jump(secs(1_000_000));
    assert_eq!((rig.take().len(), rig.timeout()), (0, None));
    rig.finish(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn zero_queue_timeout_refuses_at_once() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.queue_timeout = Duration::ZERO));
    rig.submit_many(2);
    assert_eq!(rig.take(), ["start 1 for 1"]);
    rig.jump(Duration::ZERO);
    assert_eq!(rig.take(), ["refuse 2: queue-timeout"]);
}

#[test]
fn a_queued_cancel_reaches_no_guest() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(3);
    rig.started(1);
    rig.take();
    assert!(rig.cancel(2), "it comes back");
    assert!(!rig.cancel(2), "once");
    rig.finish(1);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.responded, snapshot.queued), (1, 1, 0));
}

#[test]
fn a_queued_cancel_leaves_no_deadline() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.request_timeout = NEVER));
    rig.submit_many(2);
    rig.started(1);
    rig.jump(secs(1));
    rig.take();
    assert_eq!(rig.timeout(), Some(secs(5)));
    rig.cancel(2);
    assert_eq!(rig.timeout(), Some(secs(10)));
    rig.at(secs(60));
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn max_running_holds_despite_free_instances() {
    let mut rig = Rig::new(with(exclusive(10), |limits| limits.max_running = Some(2)));
    rig.submit_many(4);
    assert_eq!(rig.take(), ["start 1 for 1", "start 2 for 2"]);
    rig.started(1);
    rig.started(2);
    assert!(rig.responded(1));
    assert_eq!(rig.take(), [""; 0], "an open body still runs");
    rig.ended(1);
    assert_eq!(rig.take(), ["start 3 for 3"], "instance 1 has post-return work");
    rig.quiet(1);
    rig.failed(2);
    assert_eq!(rig.take(), ["assign 4 to 1"]);
}

#[test]
fn max_running_bounds_shared_instances_too() {
    let mut rig = Rig::new(with(shared(4, 4), |limits| limits.max_running = Some(2)));
    rig.submit_many(5);
    assert_eq!(rig.take(), ["start 1"]);
    rig.started(1);
    rig.settled(1);
    rig.settled(1);
    assert_eq!(rig.take(), ["assign 1 to 1", "assign 2 to 1"]);
    rig.failed(1);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
    rig.settled(1);
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn raising_a_limit_serves_those_who_wait() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(3);
    assert_eq!(rig.take(), ["start 1 for 1"]);
    rig.set_limits(exclusive(2));
    assert_eq!(rig.take(), ["start 2 for 2"]);
    rig.set_limits(with(exclusive(9), |limits| limits.max_running = Some(2)));
    assert_eq!(rig.take(), [""; 0]);
    rig.set_limits(exclusive(9));
    assert_eq!(rig.take(), ["start 3 for 3"]);
}

#[test]
fn a_new_queue_timeout_is_for_later_ones() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.set_limits(with(exclusive(1), |limits| limits.queue_timeout = secs(1)));
    rig.submit();
    rig.take();
    rig.at(secs(1));
    assert_eq!(rig.take(), ["refuse 3: queue-timeout"]);
    rig.at(secs(5));
    assert_eq!(rig.take(), ["refuse 2: queue-timeout"]);
}

//! Callers who go away: what becomes of the guest depends on who else is on the instance.

use crate::common::{Rig, exclusive, secs, shared, with};

#[test]
fn a_caller_who_leaves_during_the_start_ends_the_instance_started_for_it() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.take();
    assert!(!rig.cancel(1));
    assert_eq!(rig.take(), ["retire 1: cancelled"]);
    rig.started(1);
    assert_eq!(rig.take(), [""; 0], "a late report changes nothing");
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2 for 2"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.failed_starts), (1, 1));
}

#[test]
fn a_caller_who_leaves_during_a_shared_start_just_leaves_the_queue() {
    let mut rig = Rig::new(shared(1, 4));
    rig.submit_many(2);
    assert!(rig.cancel(1), "it comes back");
    rig.started(1);
    assert_eq!(rig.take(), ["start 1", "assign 2 to 1"]);
}

#[test]
fn a_caller_who_leaves_a_busy_exclusive_instance_ends_it() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.cancel(1);
    assert_eq!(rig.take(), ["retire 1: cancelled"]);
    assert_eq!(rig.pool.snapshot().cancelled, 1);
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2 for 2"], "its store is not used again");
}

#[test]
fn a_caller_who_leaves_a_busy_shared_instance_leaves_its_guest_to_end() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit_many(3);
    rig.started(1);
    rig.settled(1);
    rig.settled(1);
    rig.take();
    rig.cancel(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.abandoned, snapshot.busy), (1, 1, 1));
    assert_eq!(rig.take(), [""; 0], "the guest still has its seat, and 2 is not disturbed");
    assert!(rig.responded(2));
    assert!(!rig.responded(1), "nobody takes this head");
    assert_eq!(rig.take(), ["assign 3 to 1"], "the seat is free now");
    assert_eq!(rig.pool.snapshot().responded, 1);
}

#[test]
fn an_abandoned_guest_that_fails_frees_its_seat_and_is_counted_once() {
    let mut rig = Rig::new(shared(1, 1 + 1));
    rig.submit_many(2);
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    rig.failed(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.failed, snapshot.abandoned), (1, 0, 0));
    assert_eq!(snapshot.permits_free, 1024 + 1);
}

#[test]
fn an_abandoned_request_that_no_guest_has_seen_is_discarded_when_it_comes_back() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.take();
    rig.cancel(1);
    rig.returned(1);
    assert_eq!(rig.take(), ["discard 1"]);
    assert_eq!(rig.pool.load(), 0);
}

#[test]
fn a_dropped_body_ends_an_exclusive_instance() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    assert!(rig.responded(1));
    rig.take();
    rig.cancel(1);
    assert_eq!(rig.take(), ["retire 1: cancelled"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.cancelled, snapshot.streaming), (1, 0, 0));
}

#[test]
fn a_dropped_body_frees_its_seat_on_a_shared_instance() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit_many(3);
    rig.started(1);
    rig.settled(1);
    rig.settled(1);
    rig.take();
    assert!(rig.responded(1));
    rig.cancel(1);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.cancelled, snapshot.busy), (1, 0, 2));
}

#[test]
fn leaving_after_the_end_changes_nothing() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.finish(1);
    rig.take();
    rig.cancel(1);
    assert_eq!(rig.take(), [""; 0]);
    assert_eq!(rig.pool.snapshot().cancelled, 0);
}

#[test]
fn leaving_twice_counts_once() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.cancel(1);
    rig.cancel(1);
    assert_eq!(rig.pool.snapshot().cancelled, 1);
    assert_eq!(rig.pool.snapshot().abandoned, 1);
}

#[test]
fn leaving_an_instance_that_is_being_retired_is_still_a_cancellation() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.broken(1, millpond_pool_core::Reason::Trap);
    rig.take();
    rig.cancel(1);
    rig.dropped(1);
    assert_eq!(rig.take(), [""; 0], "there is nobody left to be told");
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.failed), (1, 0));
}

#[test]
fn an_abandoned_guest_may_finish_within_its_timeout_and_the_instance_goes_on() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    rig.at(secs(29));
    assert!(!rig.responded(1));
    rig.quiet(1);
    rig.at(secs(100));
    rig.submit();
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1"]);
}

#[test]
fn an_abandoned_guest_alone_is_gone_at_its_timeout() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    rig.take();
    rig.at(secs(30));
    assert_eq!(rig.take(), ["retire 1: timeout"], "nobody is told, nobody else runs there");
}

#[test]
fn an_abandoned_guest_beside_others_closes_the_instance_and_is_gone_by_twice_its_timeout() {
    let mut rig = Rig::new(with(shared(2, 3), |limits| limits.queue_timeout = secs(100)));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    rig.at(secs(10));
    rig.submit();
    rig.settled(1);
    assert!(rig.responded(2), "its body stays open for long");
    rig.at(secs(30));
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1"]);
    rig.submit();
    assert_eq!(rig.take(), ["start 2"], "instance 1 takes no more");
    rig.started(2);
    rig.take();
    rig.at(secs(59));
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(60));
    assert_eq!(rig.take(), ["retire 1: timeout", "fail 3: request-timeout", "retire 2: timeout"]);
}

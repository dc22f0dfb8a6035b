//! Callers who go away: what becomes of the guest depends on who else is on the instance.

use crate::common::{Rig, exclusive, secs, shared, with};

#[test]
fn cancelling_a_start_ends_its_instance() {
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
fn cancelling_a_shared_start_only_dequeues() {
    let mut rig = Rig::new(shared(1, 4));
    rig.submit_many(2);
    assert!(rig.cancel(1), "it comes back");
    rig.started(1);
    assert_eq!(rig.take(), ["start 1", "assign 2 to 1"]);
}

#[test]
fn cancelling_ends_an_exclusive_instance() {
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
fn cancelling_lets_a_shared_guest_finish() {
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
    assert!(!rig.responded(1), "no caller takes this head");
    assert_eq!(rig.take(), ["assign 3 to 1"], "the seat is free now");
    assert_eq!(rig.pool.snapshot().responded, 1);
}

#[test]
fn a_failed_abandoned_guest_counts_once() {
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
fn a_returned_abandoned_one_is_discarded() {
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
fn a_dropped_body_ends_an_exclusive_one() {
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
fn a_dropped_body_frees_its_shared_seat() {
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
fn leaving_a_retiring_instance_is_a_cancel() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.broken(1, millpond_pool_core::Reason::Trap);
    rig.take();
    rig.cancel(1);
    rig.dropped(1);
    assert_eq!(rig.take(), [""; 0], "there is no caller left to be told");
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.failed), (1, 0));
}

#[test]
fn an_abandoned_guest_may_finish_in_time() {
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
fn a_lone_abandoned_guest_ends_at_timeout() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    rig.take();
    rig.at(secs(30));
    assert_eq!(rig.take(), ["retire 1: timeout"], "no caller is told, no other request runs there");
}

#[test]
fn an_overdue_abandoned_guest_closes_first() {
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

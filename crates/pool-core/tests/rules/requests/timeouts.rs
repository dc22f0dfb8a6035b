//! Timeouts: of a request, of a start. The caller is told at once; the guest is gone at once when
//! it was alone by nature (exclusive), and by twice the time when it ran beside others (shared).

use std::time::Duration;

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};

/// A shared instance with `many` busy requests, all handed over at 0.
fn busy_shared(instances: usize, concurrency: usize, many: usize) -> Rig {
    let mut rig = Rig::new(with(shared(instances, concurrency), |limits| {
        limits.queue_timeout = secs(1000);
    }));
    rig.submit_many(many);
    rig.started(1);
    for _ in 0..many {
        rig.settled(1);
    }
    rig.take();
    rig
}

#[test]
fn a_timeout_retires_an_exclusive_instance() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(2));
    rig.started(1);
    rig.take();
    rig.at(secs(32) - MS);
    assert_eq!(rig.take(), [""; 0], "the time of the start does not count");
    rig.at(secs(32));
    assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
    rig.dropped(1);
    assert_eq!(rig.take(), [""; 0], "its caller has been told");
    assert_eq!(rig.pool.snapshot().failed, 1);
}

#[test]
fn the_timeout_ends_with_the_response_head() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.at(secs(29));
    assert!(rig.responded(1));
    rig.take();
    rig.at(secs(1000));
    assert_eq!(rig.take(), [""; 0], "a long body is fine");
}

#[test]
fn each_reuse_has_the_full_request_timeout() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.at(secs(20));
    rig.finish(1);
    rig.submit();
    rig.take();
    rig.at(secs(49));
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(50));
    assert_eq!(rig.take(), ["fail 2: request-timeout", "retire 1: timeout"]);
}

#[test]
fn a_head_after_the_timeout_is_dropped() {
    let mut rig = busy_shared(1, 2, 2);
    assert!(rig.responded(2));
    rig.at(secs(30));
    assert!(!rig.responded(1));
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.failed, snapshot.abandoned), (1, 1, 0));
}

#[test]
fn a_timeout_closes_a_shared_instance() {
    let mut rig = busy_shared(2, 4, 1);
    rig.at(secs(10));
    rig.submit();
    rig.settled(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.at(secs(30));
    assert_eq!(rig.take(), ["fail 1: request-timeout"], "2 goes on");
    rig.submit();
    assert_eq!(rig.take(), ["start 2"], "no more requests for instance 1");
    assert!(rig.responded(2));
    rig.ended(2);
    assert_eq!(rig.take(), ["retire 1: timeout"], "the neighbour has ended");
}

#[test]
fn a_closed_one_ends_with_the_last_request() {
    let mut rig = busy_shared(1, 4, 1);
    rig.at(secs(10));
    rig.submit();
    rig.settled(1);
    rig.at(secs(30));
    rig.take();
    rig.failed(2);
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn a_closed_one_ends_by_twice_the_timeout() {
    let mut rig = busy_shared(1, 2, 2);
    assert!(rig.responded(2));
    rig.at(secs(30));
    assert_eq!(rig.take(), ["fail 1: request-timeout"]);
    rig.at(secs(60) - MS);
    assert_eq!(rig.take(), [""; 0], "the neighbour's body is still open");
    rig.at(secs(60));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
    rig.dropped(1);
    assert_eq!(rig.take(), [""; 0], "both callers had what they were to have");
}

#[test]
fn twice_the_timeout_counts_from_the_first() {
    let mut rig = busy_shared(1, 2, 1);
    rig.at(secs(20));
    rig.submit();
    rig.settled(1);
    rig.at(secs(30));
    assert_eq!(rig.take(), ["assign 2 to 1", "fail 1: request-timeout"]);
    rig.at(secs(50));
    let end = ["fail 2: request-timeout", "retire 1: timeout"];
    assert_eq!(rig.take(), end, "both have had their time: no guest is waited for");
}

#[test]
fn simultaneous_timeouts_fail_together() {
    let mut rig = busy_shared(1, 3, 3);
    rig.at(secs(30));
    let all = [
        "fail 1: request-timeout",
        "fail 2: request-timeout",
        "fail 3: request-timeout",
        "retire 1: timeout",
    ];
    assert_eq!(rig.take(), all);
}

#[test]
fn a_late_clock_catches_up_at_once() {
    let mut rig = busy_shared(1, 2, 2);
    assert!(rig.responded(2));
    rig.jump(secs(300));
    assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
}

#[test]
fn a_late_finish_reopens_no_instance() {
    let mut rig = busy_shared(2, 2, 2);
    assert!(rig.responded(2));
    rig.at(secs(30));
    rig.take();
    assert!(!rig.responded(1));
    rig.settled(1);
    rig.submit();
    assert_eq!(rig.take(), ["start 2"]);
    rig.ended(2);
    assert_eq!(rig.take(), [""; 0], "its guest still works");
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn waiters_on_a_closed_one_get_another() {
    let mut rig = Rig::new(with(shared(2, 4), |limits| {
        limits.settle_time = NEVER;
        limits.queue_timeout = secs(1000);
    }));
    rig.submit_many(2);
    rig.started(1);
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1"]);
    rig.at(secs(30));
    let end = ["fail 1: request-timeout", "retire 1: timeout", "start 2"];
    assert_eq!(rig.take(), end, "2 waited for instance 1 to settle");
}

#[test]
fn a_start_timeout_fails_only_its_request() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(6));
    rig.submit();
    rig.take();
    rig.at(secs(10) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(10));
    assert_eq!(rig.take(), ["fail 1: start-timeout", "retire 1: timeout"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.refused, snapshot.failed, snapshot.failed_starts), (1, 0, 1));
    rig.start_failed(1);
    assert_eq!(rig.take(), ["start 2 for 2"]);
    assert_eq!(rig.pool.snapshot().failed_starts, 1, "counted once");
}

#[test]
fn a_shared_start_timeout_refuses_one() {
    let mut rig = Rig::new(with(shared(2, 4), |limits| limits.queue_timeout = secs(100)));
    rig.submit_many(3);
    rig.take();
    rig.at(secs(10));
    assert_eq!(rig.take(), ["refuse 1: start-timeout", "retire 1: timeout", "start 2"]);
    rig.started(2);
    assert_eq!(rig.take(), ["assign 2 to 2"]);
}

#[test]
fn a_late_start_answer_is_ignored() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(10));
    rig.take();
    rig.started(1);
    assert!(!rig.responded(1));
    rig.submit();
    assert_eq!(rig.take(), [""; 0], "it is not open, and still counts");
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2 for 2"]);
}

#[test]
fn a_timely_start_leaves_no_timeout() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.request_timeout = NEVER));
    rig.submit();
    rig.at(secs(9));
    rig.started(1);
    rig.take();
    rig.at(secs(100));
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn a_new_request_timeout_is_for_later_ones() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit();
    rig.started(1);
    rig.set_limits(with(exclusive(2), |limits| limits.request_timeout = secs(1)));
    rig.submit();
    rig.started(2);
    rig.take();
    rig.at(secs(1));
    assert_eq!(rig.take(), ["fail 2: request-timeout", "retire 2: timeout"]);
    rig.at(secs(30));
    assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
}

#[test]
fn no_timeouts_at_all_means_no_clock() {
    let mut rig = Rig::new(with(shared(1, 4), |limits| {
        limits.queue_timeout = NEVER;
        limits.start_timeout = NEVER;
        limits.request_timeout = NEVER;
        limits.settle_time = NEVER;
    }));
    rig.submit_many(3);
    assert_eq!(rig.timeout(), None);
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    assert_eq!(rig.timeout(), None);
    rig.jump(secs(1_000_000_000));
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1"]);
}

#[test]
fn zero_timeouts_end_everything_at_once() {
    for limits in [exclusive(2), shared(2, 4)] {
        let mut rig = Rig::new(with(limits, |limits| {
            limits.queue_timeout = secs(1);
            limits.start_timeout = secs(1);
            limits.request_timeout = Duration::ZERO;
            limits.settle_time = Duration::ZERO;
        }));
        rig.submit();
        rig.started(1);
        rig.take();
        rig.jump(Duration::ZERO);
        assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
    }
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.start_timeout = Duration::ZERO));
    rig.submit();
    rig.take();
    rig.jump(Duration::ZERO);
    assert_eq!(rig.take(), ["fail 1: start-timeout", "retire 1: timeout"]);
}

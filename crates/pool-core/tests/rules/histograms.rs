//! What the histograms count: how long requests waited, starts took, and requests ran.

use std::time::Duration;

use crate::common::{MS, Rig, exclusive, secs, shared, with};
use millpond_pool_core::{Histogram, Reason};

fn counts(rig: &Rig) -> [u64; 3] {
    let snapshot = rig.pool.snapshot();
    [&snapshot.queue_wait, &snapshot.start_time, &snapshot.run_time].map(Histogram::count)
}

fn sums(rig: &Rig) -> [Duration; 3] {
    let snapshot = rig.pool.snapshot();
    [&snapshot.queue_wait, &snapshot.start_time, &snapshot.run_time].map(Histogram::sum)
}

#[test]
fn a_start_is_recorded_apart_from_the_wait() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(2));
    assert_eq!(counts(&rig), [0, 0, 0]);
    rig.started(1);
    assert_eq!((counts(&rig), sums(&rig)), ([1, 1, 0], [secs(0), secs(2), secs(0)]));
}

#[test]
fn the_wait_is_recorded_at_hand_over() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.at(secs(3));
    assert_eq!(counts(&rig), [1, 1, 0]);
    rig.finish(1);
    assert_eq!((counts(&rig), sums(&rig)), ([2, 1, 1], [secs(3), secs(0), secs(3)]));
}

#[test]
fn a_shared_start_counts_as_waiting() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.at(secs(2));
    rig.started(1);
    assert_eq!((counts(&rig), sums(&rig)), ([1, 1, 0], [secs(2), secs(2), secs(0)]));
}

#[test]
fn run_time_is_hand_over_to_body_end() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(1));
    rig.started(1);
    rig.at(secs(3));
    assert!(rig.responded(1));
    assert_eq!(counts(&rig), [1, 1, 0], "the body holds its seat");
    rig.at(secs(7));
    rig.ended(1);
    assert_eq!((counts(&rig), sums(&rig)), ([1, 1, 1], [secs(0), secs(1), secs(6)]));
    rig.quiet(1);
    assert_eq!(counts(&rig), [1, 1, 1]);
}

#[test]
fn refused_requests_leave_no_record() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.queue_timeout = secs(1)));
    rig.submit_many(3);
    rig.started(1);
    let before = counts(&rig);
    rig.at(secs(2));
    rig.drain();
    rig.stop();
    assert_eq!((counts(&rig), rig.pool.snapshot().refused), (before, 2));
}

#[test]
fn a_queued_cancel_leaves_no_record() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.cancel(2);
    rig.cancel(1);
    rig.dropped(1);
    assert_eq!(counts(&rig), [0, 0, 0]);
}

#[test]
fn a_failed_start_leaves_no_record() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(1));
    rig.start_failed(1);
    rig.submit();
    rig.at(secs(20));
    rig.started(2);
    rig.dropped(2);
    assert_eq!((counts(&rig), rig.pool.snapshot().failed_starts), ([0, 0, 0], 2));
}

#[test]
fn an_exhausted_start_counts_as_waiting() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.at(secs(1));
    rig.exhausted(1);
    rig.jump(secs(2));
    rig.started(2);
    assert_eq!((counts(&rig), sums(&rig)), ([1, 1, 0], [secs(2), secs(0), secs(0)]));
}

#[test]
fn failed_and_cancelled_requests_count_runs() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.started(1);
    rig.started(2);
    rig.at(secs(1));
    rig.failed(1);
    rig.at(secs(2));
    rig.cancel(2);
    assert_eq!((counts(&rig), sums(&rig)[2]), ([2, 2, 2], secs(3)));
}

#[test]
fn abandoned_work_counts_as_running() {
    let mut rig = Rig::new(with(shared(1, 2), |limits| limits.request_timeout = secs(3)));
    rig.submit_many(2);
    rig.started(1);
    rig.settled(1);
    rig.cancel(1);
    assert_eq!(counts(&rig)[2], 0, "its seat is taken");
    rig.at(secs(2));
    rig.failed(1);
    assert_eq!((counts(&rig)[2], sums(&rig)[2]), (1, secs(2)));
    rig.at(secs(3));
    assert_eq!(counts(&rig)[2], 1, "its caller has its 504, and its guest goes on");
    rig.broken(1, Reason::Timeout);
    rig.dropped(1);
    assert_eq!((counts(&rig)[2], sums(&rig)[2]), (2, secs(5)));
}

#[test]
fn a_returned_request_has_not_run() {
    let mut rig = Rig::new(shared(2, 2));
    rig.submit();
    rig.started(1);
    rig.at(secs(1));
    rig.broken(1, Reason::Trap);
    rig.returned(1);
    rig.dropped(1);
    assert_eq!((counts(&rig), sums(&rig)), ([1, 1, 0], [Duration::ZERO; 3]));
    rig.at(secs(4));
    rig.started(2);
    assert_eq!((counts(&rig), sums(&rig)), ([2, 2, 0], [secs(4), secs(3), secs(0)]));
}

#[test]
fn spares_count_among_the_starts() {
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.min_idle = 1));
    rig.jump(MS);
    rig.at(5 * MS);
    rig.started(1);
    assert_eq!((counts(&rig), sums(&rig)[1]), ([0, 1, 0], 4 * MS));
    rig.at(8 * MS);
    rig.submit();
    assert_eq!((counts(&rig)[0], sums(&rig)[0]), (1, Duration::ZERO));
}

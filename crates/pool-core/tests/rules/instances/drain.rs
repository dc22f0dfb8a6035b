//! The end of a pool: what was submitted is served, then everything is gone.

use crate::common::{MS, Rig, exclusive, secs, shared, with};
use millpond_pool_core::{Reason, Refusal, Snapshot};

/// Nothing is left.
fn assert_empty(snapshot: &Snapshot) {
    let here = snapshot.queued + snapshot.starting + snapshot.busy + snapshot.streaming;
    assert_eq!((here, snapshot.abandoned, snapshot.instances.live()), (0, 0, 0));
    assert_eq!((snapshot.permits_free, snapshot.permits_reserved), (0, 0));
}

#[test]
fn an_empty_pool_is_drained_at_once() {
    let mut rig = Rig::new(exclusive(1));
    assert!(!rig.pool.is_draining() && !rig.pool.is_drained());
    rig.drain();
    assert!(rig.pool.is_drained());
    assert_empty(&rig.pool.snapshot());
}

#[test]
fn a_drain_serves_the_queue_then_retires() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.drain();
    assert!(rig.pool.is_draining());
    rig.finish(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.finish(2);
    assert_eq!(rig.take(), ["retire 1: drain"]);
    assert!(!rig.pool.is_drained(), "its store is not yet dropped");
    rig.dropped(1);
    assert!(rig.pool.is_drained());
    assert_empty(&rig.pool.snapshot());
    assert_eq!(rig.pool.snapshot().responded, 2);
}

#[test]
fn a_drain_starts_instances_for_the_queue() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.drain();
    rig.broken(1, Reason::Trap);
    rig.take();
    rig.dropped(1);
    assert_eq!(rig.take(), ["fail 1: retired, trap", "start 2 for 2"]);
}

#[test]
fn a_drain_retires_idle_instances_at_once() {
    let mut rig = Rig::new(exclusive(3));
    rig.submit_many(3);
    rig.started(1);
    rig.started(2);
    rig.started(3);
    rig.finish(1);
    rig.finish(3);
    rig.take();
    rig.drain();
    assert_eq!(rig.take(), ["retire 1: drain", "retire 3: drain"]);
    assert_eq!(rig.pool.snapshot().retired.get(Reason::Drain), 2);
}

#[test]
fn a_drain_retires_backpressured_spares() {
    let mut rig = Rig::new(with(shared(1, 2), |limits| limits.min_idle = 1));
    rig.at(MS);
    rig.started(1);
    rig.backpressure(1, true);
    rig.take();
    rig.drain();
    assert_eq!(rig.take(), ["retire 1: drain"]);
}

#[test]
fn the_last_grant_ends_backpressured_ones() {
    let mut rig = Rig::new(with(exclusive(3), |limits| limits.min_idle = 1)).budgeted();
    rig.look();
    rig.grant();
    rig.started(1);
    rig.backpressure(1, true);
    rig.submit();
    rig.drain();
    rig.take();
    rig.grant();
    assert_eq!(rig.take(), ["start 2 for 1", "retire 1: drain"]);
}

#[test]
fn a_drain_ends_when_the_last_is_refused() {
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.max_running = Some(2)));
    rig.submit_many(3);
    rig.started(1);
    rig.started(2);
    rig.drain();
    rig.set_limits(with(exclusive(2), |limits| limits.max_running = Some(1)));
    rig.finish(1);
    rig.take();
    rig.at(secs(5));
    assert_eq!(rig.take(), ["refuse 3: queue-timeout", "retire 1: drain"]);
}

#[test]
fn a_return_in_a_drain_retires_the_instance() {
    let mut rig = Rig::new(shared(2, 2));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.submit_many(2);
    rig.started(2);
    rig.settled(2);
    rig.finish(1);
    rig.drain();
    rig.take();
    rig.returned(2);
    assert_eq!(rig.take(), ["assign 2 to 2", "retire 1: drain"]);
}

#[test]
fn draining_refuses_permits() {
    let mut rig = Rig::new(exclusive(1));
    rig.drain();
    assert_eq!(rig.reserve(), Err(Refusal::Draining));
    assert_eq!(rig.pool.permits_free(), 0);
}

#[test]
fn a_drain_refuses_earlier_permits() {
    let mut rig = Rig::new(exclusive(1));
    rig.reserve().unwrap();
    rig.reserve().unwrap();
    rig.drain();
    rig.submit_reserved();
    assert_eq!(rig.take(), ["refuse 1: draining"]);
    rig.release();
    assert_empty(&rig.pool.snapshot());
}

#[test]
fn a_drain_refuses_permits_despite_room() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.reserve().unwrap();
    rig.drain();
    rig.take();
    rig.submit_reserved();
    assert_eq!(rig.take(), ["refuse 2: draining"]);
}

#[test]
fn a_drain_awaits_bodies_and_post_return() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    assert!(rig.responded(1));
    rig.take();
    rig.drain();
    rig.ended(1);
    assert_eq!(rig.take(), [""; 0]);
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: drain"]);
}

#[test]
fn an_unclaimed_start_in_a_drain_is_retired() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.drain();
    rig.cancel(1);
    rig.take();
    rig.started(1);
    assert_eq!(rig.take(), ["retire 1: drain"]);
}

#[test]
fn cancelling_the_last_frees_idle_instances() {
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.max_running = Some(2)));
    rig.submit_many(3);
    rig.started(1);
    rig.started(2);
    rig.drain();
    rig.set_limits(with(exclusive(2), |limits| limits.max_running = Some(1)));
    rig.finish(1);
    rig.take();
    rig.cancel(3);
    assert_eq!(rig.take(), ["retire 1: drain"]);
}

#[test]
fn a_stop_refuses_queued_retires_running() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(3);
    rig.started(1);
    rig.take();
    rig.stop();
    assert_eq!(rig.take(), ["refuse 3: draining", "retire 1: drain", "retire 2: drain"]);
    rig.dropped(1);
    rig.dropped(2);
    assert_eq!(rig.take(), ["fail 1: retired, drain", "fail 2: retired, drain"]);
    let snapshot = rig.pool.snapshot();
    assert!(rig.pool.is_drained());
    assert_empty(&snapshot);
    assert_eq!((snapshot.failed, snapshot.refused), (1, 2), "no guest saw 2 and 3");
}

#[test]
fn a_stop_cuts_a_drain_short() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit_many(2);
    rig.started(1);
    assert!(rig.responded(1));
    rig.drain();
    rig.take();
    rig.stop();
    assert_eq!(rig.take(), ["refuse 2: draining", "retire 1: drain"]);
    rig.dropped(1);
    assert!(rig.pool.is_drained());
    assert_eq!(rig.pool.snapshot().responded, 1);
}

#[test]
fn a_stop_refuses_returned_requests() {
    let mut rig = Rig::new(shared(2, 4));
    rig.submit();
    rig.started(1);
    rig.stop();
    rig.take();
    rig.returned(1);
    rig.dropped(1);
    assert_eq!(rig.take(), ["refuse 1: draining"]);
    assert!(rig.pool.is_drained());
}

#[test]
fn drain_and_stop_are_idempotent() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.drain();
    rig.drain();
    rig.stop();
    rig.stop();
    assert_eq!(rig.take(), ["start 1 for 1", "retire 1: drain"]);
    rig.drain();
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn new_limits_in_flight_lose_no_request() {
    let mut rig = Rig::new(shared(4, 4));
    rig.submit_many(12);
    rig.started(1);
    rig.started(2);
    rig.settled(1);
    rig.settled(2);
    rig.set_limits(with(exclusive(1), |limits| limits.max_queue = 0));
    rig.started(3);
    rig.settled(3);
    rig.set_limits(with(shared(2, 2), |limits| limits.max_running = Some(1)));
    rig.drain();
    for _ in 0..50 {
        for instance in rig.ledger.instances.keys().copied().collect::<Vec<_>>() {
            rig.settled(instance);
            for request in rig.ledger.guests(instance) {
                rig.failed(request);
            }
            rig.quiet(instance);
            if rig.ledger.instances[&instance].retiring {
                rig.dropped(instance);
            }
        }
    }
    let snapshot = rig.pool.snapshot();
    assert_empty(&snapshot);
    assert_eq!((snapshot.submitted, snapshot.failed), (12, 12));
}

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
fn a_drain_serves_the_queue_and_then_retires_all() {
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
fn a_drain_starts_instances_for_those_who_wait() {
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
fn a_drain_retires_spares_that_asked_for_no_requests() {
    let mut rig = Rig::new(with(shared(1, 2), |limits| limits.min_idle = 1));
    rig.at(MS);
    rig.started(1);
    rig.backpressure(1, true);
    rig.take();
    rig.drain();
    assert_eq!(rig.take(), ["retire 1: drain"]);
}

#[test]
fn a_grant_for_the_last_of_the_queue_ends_those_that_held_it_back() {
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
fn a_drain_ends_though_the_last_of_the_queue_is_refused() {
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
fn who_gives_back_its_request_in_a_drain_ends_when_another_takes_that() {
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
fn while_draining_nobody_gets_a_permit() {
    let mut rig = Rig::new(exclusive(1));
    rig.drain();
    assert_eq!(rig.reserve(), Err(Refusal::Draining));
    assert_eq!(rig.pool.permits_free(), 0);
}

#[test]
fn a_permit_from_before_the_drain_is_refused_when_it_is_spent() {
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
fn a_permit_from_before_the_drain_is_refused_though_an_instance_has_room() {
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
fn a_drain_waits_for_bodies_and_post_return_work() {
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
fn an_instance_that_starts_for_nobody_during_a_drain_is_retired_when_it_is_up() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.drain();
    rig.cancel(1);
    rig.take();
    rig.started(1);
    assert_eq!(rig.take(), ["retire 1: drain"]);
}

#[test]
fn cancelling_the_last_of_the_queue_lets_idle_instances_go() {
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
fn a_stop_refuses_what_waits_and_retires_what_runs() {
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
fn after_a_stop_a_request_that_comes_back_is_refused_and_nothing_is_started() {
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
fn draining_twice_and_stopping_twice_changes_nothing() {
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
fn limits_changed_in_mid_flight_lose_no_request() {
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

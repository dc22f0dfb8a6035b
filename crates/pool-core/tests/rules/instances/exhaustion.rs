//! An allocator that is full: what waits is tried again when there may be room, and never in a hot
//! loop.

use crate::common::ledger::Place;
use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::{MaxRequests, Reason};

#[test]
fn a_drop_retries_the_exhausted_start_first() {
    let mut rig = Rig::new(exclusive(3));
    rig.submit();
    rig.started(1);
    rig.submit_many(2);
    rig.take();
    rig.exhausted(2);
    assert_eq!(rig.take(), [""; 0], "no start before there is room");
    rig.submit();
    assert_eq!(rig.take(), [""; 0]);
    rig.start_failed(3);
    assert_eq!(rig.take(), ["start 4 for 2"], "2 has its old place, and there is room for one");
    assert_eq!(rig.pool.snapshot().refused, 1, "request 3, whose start failed");
}

#[test]
fn a_live_one_may_serve_an_exhausted_start() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.started(1);
    rig.exhausted(2);
    rig.take();
    rig.finish(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn an_exhausted_shared_start_requeues() {
    let mut rig = Rig::new(shared(2, 1 + 1));
    rig.submit_many(3);
    rig.started(1);
    rig.take();
    rig.exhausted(2);
    rig.settled(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.broken(1, Reason::Trap);
    rig.dropped(1);
    let end = ["retire 1: trap", "fail 1: retired, trap", "fail 2: retired, trap", "start 3"];
    assert_eq!(rig.take(), end);
}

#[test]
fn exhaustion_drops_a_cancelled_request() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.cancel(1);
    rig.exhausted(1);
    assert_eq!(rig.take(), ["start 1 for 1", "retire 1: cancelled", "discard 1"]);
}

#[test]
fn exhaustion_with_nothing_live_is_retried() {
    for limits in [exclusive(2), shared(2, 4)] {
        let mut rig = Rig::new(limits);
        rig.submit();
        rig.take();
        rig.exhausted(1);
        assert_eq!(rig.take(), [""; 0]);
        assert_eq!(rig.timeout(), Some(10 * MS));
        rig.at(10 * MS);
        assert_eq!(rig.take().len(), 1, "one try");
        rig.started(2);
        assert_eq!(rig.pool.snapshot().instances.busy, 1);
        assert_eq!(rig.pool.snapshot().refused, 0);
    }
}

#[test]
fn a_wait_on_a_full_allocator_is_exhausted() {
    let mut rig = Rig::new(with(exclusive(2), |limits| limits.queue_timeout = secs(2)));
    rig.submit();
    rig.take();
    while rig.ledger.place(1) != Place::Over {
        match rig.ledger.instances.keys().next() {
            Some(instance) => rig.exhausted(*instance),
            None => rig.at(rig.timeout().expect("a try or a deadline")),
        }
    }
    let refused = rig.take().pop();
    assert_eq!(refused.as_deref(), Some("refuse 1: resources-exhausted"));
    assert_eq!(rig.elapsed(), secs(2));
    let starts = rig.pool.snapshot().starts;
    assert!((8..=10).contains(&starts), "the tries become rare: {starts} in 2 s");
}

#[test]
fn probe_wait_doubles_and_a_start_resets_it() {
    let mut rig = Rig::new(with(exclusive(9), |limits| {
        (limits.queue_timeout, limits.request_timeout) = (NEVER, NEVER);
    }));
    rig.submit();
    rig.started(1);
    rig.submit();
    rig.exhausted(2);
    let mut next = 3;
    for wait in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
        rig.take();
        let at = rig.elapsed() + wait * MS;
        assert_eq!(rig.timeout(), Some(at), "after {wait} ms");
        rig.at(at);
        assert_eq!(rig.take(), [format!("start {next} for 2")]);
        rig.exhausted(next);
        next += 1;
    }
    rig.at(rig.elapsed() + secs(1));
    rig.started(next);
    rig.submit();
    let soon = rig.elapsed() + 10 * MS;
    rig.take();
    rig.at(soon);
    assert_eq!(rig.take(), [format!("start {} for 3", next + 1)]);
}

#[test]
fn slow_probes_become_rarer_too() {
    let mut rig = Rig::new(with(exclusive(1000), |limits| {
        (limits.queue_timeout, limits.request_timeout) = (NEVER, NEVER);
    }));
    rig.submit();
    rig.started(1);
    rig.submit_many(100);
    for instance in (2..=101).rev() {
        rig.exhausted(instance);
    }
    rig.take();
    rig.at(secs(1));
    let tries = rig.take();
    assert!(tries.len() <= 8, "it is not known yet if the first was one too many: {tries:?}");
}

#[test]
fn exhaustion_sets_the_ceiling_to_the_live() {
    let mut rig = Rig::new(with(exclusive(9), |limits| {
        limits.max_requests = MaxRequests::exactly(1);
    }));
    rig.submit_many(3);
    rig.started(1);
    rig.started(2);
    rig.exhausted(3);
    rig.finish(1);
    rig.finish(2);
    rig.submit_many(3);
    rig.take();
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 4 for 3"]);
    rig.dropped(2);
    assert_eq!(rig.take(), ["start 5 for 4"], "one for each that was dropped");
}

#[test]
fn an_unneeded_probe_forgets_the_ceiling() {
    let mut rig = Rig::new(exclusive(9));
    rig.submit_many(2);
    rig.started(1);
    rig.exhausted(2);
    rig.cancel(2);
    rig.take();
    rig.at(10 * MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.submit_many(3);
    assert_eq!(rig.take(), ["start 3 for 3", "start 4 for 4", "start 5 for 5"]);
}

#[test]
fn a_freed_instance_serves_though_full() {
    let mut rig = Rig::new(shared(3, 2));
    rig.submit_many(3);
    rig.started(1);
    rig.settled(1);
    rig.exhausted(2);
    rig.take();
    rig.settled(1);
    rig.finish(2);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
    rig.at(secs(4));
    assert_eq!((rig.take().len(), rig.timeout()), (0, Some(secs(30))), "no request waits");
}

#[test]
fn room_dropped_elsewhere_is_tried_at_once() {
    let mut rig = Rig::new(exclusive(3));
    rig.submit_many(2);
    rig.started(1);
    rig.exhausted(2);
    rig.take();
    rig.room();
    assert_eq!(rig.take(), ["start 3 for 2"]);
}

#[test]
fn a_full_allocator_shows_as_pressure() {
    let mut rig = Rig::new(exclusive(3));
    rig.submit_many(2);
    rig.started(1);
    assert!(!rig.pool.snapshot().pressure);
    rig.exhausted(2);
    assert!(rig.pool.snapshot().pressure);
    rig.finish(1);
    assert!(!rig.pool.snapshot().pressure);
}

#[test]
fn expiry_at_own_limit_is_a_queue_timeout() {
    let mut rig = Rig::new(with(exclusive(1), |limits| limits.request_timeout = NEVER));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.at(secs(5));
    assert_eq!(rig.take(), ["refuse 2: queue-timeout"]);
}

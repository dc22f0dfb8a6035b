//! Reports that come too late, or from the wrong place: they change nothing, and lose nothing.

use crate::common::{Rig, exclusive, shared};
use millpond_pool_core::{InstanceEvent, Reason};

#[test]
fn events_of_unknown_instances_are_ignored() {
    let mut other = Rig::new(exclusive(9));
    other.submit_many(9);
    let stranger = other.id(9);
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.broken(1, Reason::Trap);
    rig.dropped(1);
    rig.take();
    let before = rig.pool.snapshot();
    for id in [rig.id(1), stranger] {
        let request_id = rig.request_id(1);
        rig.raw(id, InstanceEvent::Started);
        rig.raw(id, InstanceEvent::StartFailed);
        rig.raw(id, InstanceEvent::Exhausted { request: None });
        rig.raw(id, InstanceEvent::Settled);
        rig.raw(id, InstanceEvent::Backpressure(true));
        rig.raw(id, InstanceEvent::Failed(request_id));
        rig.raw(id, InstanceEvent::Progress(request_id));
        rig.raw(id, InstanceEvent::Ended(request_id));
        rig.raw(id, InstanceEvent::Pinned(request_id));
        rig.raw(id, InstanceEvent::Resumed(request_id));
        rig.raw(id, InstanceEvent::Quiet);
        rig.raw(id, InstanceEvent::Drain(Reason::Swap));
        rig.raw(id, InstanceEvent::Broken(Reason::Trap));
        rig.raw(id, InstanceEvent::Dropped);
    }
    assert!(!rig.responded(1));
    assert_eq!(rig.take(), [""; 0]);
    assert_eq!(rig.pool.snapshot(), before);
}

#[test]
fn a_late_return_is_not_dropped_inside() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.broken(1, Reason::Trap);
    rig.dropped(1);
    rig.take();
    rig.returned(1);
    assert_eq!(rig.take(), ["discard 1"]);
}

#[test]
fn reports_on_a_requeued_one_are_ignored() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit();
    rig.started(1);
    rig.broken(1, Reason::Trap);
    rig.returned(1);
    rig.take();
    rig.failed(1);
    rig.ended(1);
    assert!(!rig.responded(1));
    assert_eq!(rig.pool.snapshot().queued, 1);
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn no_instance_ends_anothers_requests() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.started(1);
    rig.started(2);
    assert!(rig.responded(2));
    let (id, one, two) = (rig.id(1), rig.request_id(1), rig.request_id(2));
    rig.raw(id, InstanceEvent::Ended(two));
    rig.raw(id, InstanceEvent::Failed(two));
    let other = rig.id(2);
    rig.raw(other, InstanceEvent::Failed(one));
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.busy, snapshot.streaming, snapshot.failed), (1, 1, 0));
}

#[test]
fn no_instance_returns_anothers_requests() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.started(1);
    rig.started(2);
    rig.take();
    rig.returned_by(1, 2);
    assert_eq!(rig.take(), ["discard 2"]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.queued, snapshot.busy), (0, 2), "2 is served where it was");
    assert!(rig.responded(2));
}

#[test]
fn outcomes_during_a_start_are_counted() {
    let starting = || {
        let mut rig = Rig::new(exclusive(1));
        rig.submit();
        rig.broken(1, Reason::Host);
        rig.take();
        rig
    };
    let mut rig = starting();
    rig.failed(1);
    rig.dropped(1);
    assert_eq!((rig.take().len(), rig.pool.snapshot().failed), (0, 1), "its caller was told");

    let mut rig = starting();
    rig.returned(1);
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2 for 1"], "it was never started");

    let mut rig = starting();
    rig.started(1);
    assert!(!rig.responded(1), "the instance was told to end before it began");
    rig.dropped(1);
    assert_eq!(rig.take(), ["fail 1: retired, host"]);
}

//! Pins and resumes as reports: how they are counted and shown, and when they come too early or too late.

use std::time::Duration;

use crate::common::{Rig, exclusive, secs, shared, with};
use crate::requests::leases::pinned;
use millpond_pool_core::{InstanceEvent, MaxRequests, Reason, Status};

#[test]
fn each_stage_is_counted_once() {
    let mut rig = Rig::new(exclusive(1));
    rig.hold_verdicts = true;
    rig.submit();
    rig.started(1);
    let seen = |rig: &Rig| {
        let (snapshot, view) = (rig.pool.snapshot(), rig.newest_poll(1).view.clone());
        assert_eq!((view.busy, view.pinned), (snapshot.busy, snapshot.pinned));
        let gauges = &snapshot.instances;
        assert_eq!((gauges.busy, gauges.pinned, gauges.live()), (view.busy, view.pinned, 1));
        assert_eq!(snapshot.unaccounted(), 0);
        assert_eq!(rig.pool.load(), 1);
        (view.status, snapshot.pinned, view.newest_busy)
    };
    let at = |rig: &Rig, time: Duration| Some(rig.instant(time));
    assert_eq!(seen(&rig), (Status::Busy, 0, at(&rig, secs(0))));
    rig.at(secs(3));
    rig.pin(1);
    assert_eq!(seen(&rig), (Status::Pinned, 1, None));
    assert_eq!(rig.newest_poll(1).view.since, rig.instant(secs(3)));
    rig.at(secs(7));
    rig.resume(1);
    assert_eq!(seen(&rig), (Status::Busy, 0, at(&rig, secs(7))), "busy since the resume");
    rig.at(secs(9));
    rig.finish(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.pinned, snapshot.unaccounted()), (1, 0, 0));
    assert_eq!(snapshot.run_time.sum(), secs(9), "from the hand-over, and pinned too");
}

#[test]
fn status_prefers_busy_pinned_streaming() {
    let mut rig = Rig::new(shared(1, 3));
    rig.submit_many(3);
    rig.started(1);
    for request in 1..=3 {
        rig.settled(1);
        if request == 1 {
            assert!(rig.responded(1));
        }
    }
    let status = |rig: &Rig| rig.newest_poll(1).view.status;
    rig.pin(2);
    assert_eq!(status(&rig), Status::Busy);
    rig.pin(3);
    assert_eq!(status(&rig), Status::Pinned);
    let view = &rig.newest_poll(1).view;
    assert_eq!((view.busy, view.pinned, view.streaming), (0, 2, 1));
    assert_eq!(rig.pool.snapshot().instances.pinned, 1, "instances, not requests");
    for request in 2..=3 {
        assert!(rig.responded(request));
    }
    assert_eq!(status(&rig), Status::Streaming);
}

#[test]
fn only_worked_on_requests_pin_or_resume() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    let unchanged = |rig: &mut Rig, request| {
        let before = rig.pool.snapshot();
        let (id, request_id) = (rig.id(1), rig.request_id(request));
        rig.raw(id, InstanceEvent::Resumed(request_id));
        assert_eq!(rig.pool.snapshot(), before);
        rig.raw(id, InstanceEvent::Pinned(request_id));
        assert_eq!(rig.pool.snapshot(), before);
    };
    unchanged(&mut rig, 1);
    unchanged(&mut rig, 2);
    rig.started(1);
    unchanged(&mut rig, 2);
    assert!(rig.responded(1));
    unchanged(&mut rig, 1);
    rig.ended(1);
    unchanged(&mut rig, 1);
}

#[test]
fn a_resume_without_a_pin_buys_no_time() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.at(secs(20));
    rig.resume(1);
    rig.take();
    rig.at(secs(30));
    assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
}

#[test]
fn a_pin_twice_is_a_pin_once() {
    let mut rig = pinned(exclusive(1));
    rig.pin(1);
    rig.resume(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.busy, snapshot.pinned), (1, 0));
}

#[test]
fn pin_or_resume_after_timeout_is_ignored() {
    for limits in [exclusive(1), shared(1, 2)] {
        let mut rig = Rig::new(limits);
        rig.submit();
        rig.started(1);
        rig.at(secs(30));
        assert_eq!(rig.pool.snapshot().failed, 1);
        let before = rig.pool.snapshot();
        rig.pin(1);
        rig.resume(1);
        assert_eq!(rig.pool.snapshot(), before);
        rig.dropped(1);
        rig.pin(1);
        rig.resume(1);
        assert_eq!(rig.pool.snapshot().failed, 1);
    }
}

#[test]
fn pin_or_resume_while_retiring_is_ignored() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.broken(1, Reason::Trap);
    rig.pin(1);
    assert_eq!(rig.pool.snapshot().pinned, 0);

    let mut rig = pinned(exclusive(1));
    rig.stop();
    rig.resume(1);
    assert_eq!(rig.pool.snapshot().pinned, 1);
    assert!(rig.responded(1), "as of any other that runs, its answer stands");
    rig.dropped(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.responded, snapshot.failed), (1, 0));
}

#[test]
fn no_instance_pins_anothers_requests() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.started(1);
    rig.started(2);
    let (id, request_id) = (rig.id(1), rig.request_id(2));
    rig.raw(id, InstanceEvent::Pinned(request_id));
    assert_eq!(rig.pool.snapshot().pinned, 0);
    rig.pin(2);
    rig.raw(id, InstanceEvent::Resumed(request_id));
    assert_eq!(rig.pool.snapshot().pinned, 1);
}

#[test]
fn both_halves_are_one_request_of_the_quota() {
    let mut rig = pinned(with(exclusive(1), |l| l.max_requests = MaxRequests::exactly(2)));
    rig.resume(1);
    rig.finish(1);
    assert_eq!(rig.take(), [""; 0]);
    rig.submit();
    rig.pin(2);
    assert_eq!(rig.take(), ["assign 2 to 1"], "the last, and not yet done");
    rig.finish(2);
    assert_eq!(rig.take(), ["retire 1: requests"]);
}

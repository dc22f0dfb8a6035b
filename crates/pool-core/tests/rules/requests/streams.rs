//! A lease whose response streams: the guest is kept for the end of the body. Time runs only for the side
//! that is to move next.

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{body_stall_timeout, boxed, standard};
use millpond_pool_core::{InstanceEvent, InstanceView, Limits, Status};

/// Its only request streams since 0, on instance 1. A body may stall for 10 s, a call take 30.
fn streaming(limits: Limits) -> Rig {
    let limits = with(limits, |limits| {
        (limits.body_stall_timeout, limits.queue_timeout) = (secs(10), secs(1000));
    });
    stream(Rig::new(limits).policy(|| boxed(standard())))
}

fn stream(mut rig: Rig) -> Rig {
    rig.submit();
    rig.started(1);
    rig.settled(1);
    assert!(rig.responded(1));
    rig.take();
    rig
}

fn view(rig: &Rig) -> InstanceView {
    rig.newest_poll(1).view.clone()
}

#[test]
fn a_held_body_pauses_all_timeouts() {
    let mut rig = streaming(exclusive(1));
    rig.at(secs(9));
    rig.pin(1);
    for hours in 1..10 {
        rig.at(secs(3600) * hours);
    }
    assert_eq!(rig.take(), [""; 0]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.streaming, snapshot.pinned, snapshot.instances.streaming), (1, 0, 1));
    rig.ended(1);
    rig.quiet(1);
    assert_eq!(rig.pool.snapshot().instances.idle, 1);
}

#[test]
fn progress_resumes_the_stall_timeout() {
    let mut rig = streaming(exclusive(1));
    rig.at(secs(9));
    rig.pin(1);
    rig.at(secs(100));
    rig.progress(1);
    rig.at(secs(110) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(110));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn policies_see_which_body_is_to_move() {
    // Policies that ask for nothing see each change.
    let mut rig = stream(Rig::new(exclusive(1)));
    rig.at(secs(5));
    rig.pin(1);
    let seen = view(&rig);
    assert_eq!((seen.status, seen.streaming), (Status::Streaming, 1));
    assert_eq!((seen.stalled_since, seen.last_moved), (None, None));
    rig.at(secs(7));
    rig.progress(1);
    let (seen, at) = (view(&rig), Some(rig.instant(secs(7))));
    assert_eq!((seen.stalled_since, seen.last_moved), (at, at));
    rig.resume(1);
    let seen = view(&rig);
    assert_eq!((seen.status, seen.stalled_since, seen.last_moved), (Status::Streaming, None, None));
}

#[test]
fn the_last_call_has_the_request_timeout() {
    for stopped in [false, true] {
        let mut rig = streaming(exclusive(1));
        rig.at(secs(8));
        if stopped {
            rig.pin(1);
        }
        rig.resume(1);
        rig.at(secs(38) - MS);
        assert_eq!(rig.take(), [""; 0], "and not that of a body");
        rig.at(secs(38));
        assert_eq!(rig.take(), ["retire 1: timeout"]);
        rig.dropped(1);
        assert_eq!(rig.pool.snapshot().responded, 1);
    }
}

#[test]
fn nothing_buys_the_last_call_more_time() {
    for buy in [Rig::resume, Rig::pin, Rig::progress] {
        let mut rig = streaming(exclusive(1));
        rig.resume(1);
        rig.at(secs(25));
        buy(&mut rig, 1);
        rig.at(secs(30));
        assert_eq!(rig.take(), ["retire 1: timeout"]);
    }
}

#[test]
fn an_instance_is_free_after_the_last_call() {
    let mut rig = streaming(exclusive(1));
    rig.submit();
    rig.pin(1);
    rig.resume(1);
    rig.at(secs(29));
    rig.ended(1);
    assert_eq!(rig.take(), [""; 0], "its guest works");
    rig.quiet(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.at(secs(59) - MS);
    assert_eq!(rig.take(), [""; 0], "the time of the other one");
    rig.at(secs(59));
    assert_eq!(rig.take(), ["fail 2: request-timeout", "retire 1: timeout"]);
}

#[test]
fn a_retired_instance_is_not_pinned() {
    let mut rig = streaming(exclusive(1));
    rig.stop();
    rig.take();
    let before = rig.pool.snapshot();
    rig.pin(1);
    rig.resume(1);
    rig.at(secs(100));
    assert_eq!((rig.pool.snapshot(), rig.take().len()), (before, 0));
}

#[test]
fn a_stall_beside_a_held_body_drains_first() {
    let mut rig = streaming(with(shared(1, 2), |limits| limits.idle_timeout = NEVER));
    rig.submit();
    rig.settled(1);
    assert!(rig.responded(2));
    let (id, request_id) = (rig.id(1), rig.request_id(2));
    rig.raw(id, InstanceEvent::Pinned(request_id));
    rig.at(secs(10));
    rig.submit();
    assert_eq!(rig.take(), ["assign 2 to 1"], "it takes no more, and goes on");
    rig.ended(2);
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn the_stall_policy_ignores_a_pinned_body() {
    let stall = || boxed(body_stall_timeout(secs(10)));
    let mut rig = stream(Rig::new(exclusive(1)).policy(stall));
    rig.pin(1);
    rig.at(secs(1000));
    assert_eq!(rig.take(), [""; 0]);
}

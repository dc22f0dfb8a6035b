//! Leases: while its guest waits for the host between two calls, an instance is kept for the one request,
//! and no time runs.

use crate::common::{MS, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{BoxExpiration, InstanceExpiration};
use millpond_pool_core::expiration::{
    boxed, busy_timeout, idle_timeout, max_age, post_return_timeout, standard,
};
use millpond_pool_core::{Limits, Reason, Status};

/// Its only request is pinned at 0, on instance 1.
pub(crate) fn pinned(limits: Limits) -> Rig {
    let mut rig = Rig::new(limits);
    pin_first(&mut rig);
    rig
}

fn pin_first(rig: &mut Rig) {
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.pin(1);
    rig.take();
}

#[test]
fn a_pinned_instance_takes_no_other_request() {
    let mut rig = pinned(with(exclusive(1), |limits| limits.queue_timeout = secs(1000)));
    rig.submit();
    rig.at(secs(100));
    rig.resume(1);
    rig.pin(1);
    assert_eq!(rig.take(), [""; 0], "both halves belong to the first");
    rig.resume(1);
    assert!(rig.responded(1));
    rig.ended(1);
    assert_eq!(rig.take(), [""; 0], "its guest still works");
    rig.quiet(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn a_request_beside_a_pin_gets_another() {
    let mut rig = pinned(exclusive(2));
    rig.submit();
    assert_eq!(rig.take(), ["start 2 for 2"]);
}

#[test]
fn a_quiet_between_the_halves_frees_no_seat() {
    let mut rig = pinned(exclusive(1));
    rig.submit();
    rig.quiet(1);
    rig.resume(1);
    assert!(rig.responded(1));
    rig.ended(1);
    assert_eq!(rig.take(), [""; 0], "its guest has worked since");
    rig.quiet(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn a_pinned_shared_one_takes_no_others() {
    let mut rig = pinned(shared(1, 3));
    rig.submit();
    assert_eq!(rig.take(), [""; 0], "though it has two seats");
    rig.resume(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
    rig.settled(1);
    rig.pin(2);
    rig.submit();
    rig.pin(1);
    assert_eq!(rig.take(), [""; 0]);
    // Of two that are pinned, one is answered, and the other goes on.
    assert!(rig.responded(1));
    assert_eq!(rig.take(), [""; 0]);
    rig.resume(2);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
}

#[test]
fn a_pinned_answer_reopens_its_shared_one() {
    let mut rig = pinned(shared(1, 2));
    rig.submit();
    assert_eq!(rig.take(), [""; 0]);
    assert!(rig.responded(1));
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn a_pinned_settling_one_is_not_awaited() {
    let mut rig = Rig::new(shared(2, 2));
    rig.submit();
    rig.started(1);
    rig.submit();
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1"], "it will settle soon");
    rig.pin(1);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn a_released_instance_is_used_first() {
    let mut rig = Rig::new(exclusive(3));
    rig.submit_many(3);
    for instance in 1..=3 {
        rig.started(instance);
    }
    rig.pin(2);
    rig.finish(1);
    rig.finish(3);
    rig.resume(2);
    rig.finish(2);
    rig.take();
    rig.submit_many(3);
    assert_eq!(rig.take(), ["assign 4 to 2", "assign 5 to 3", "assign 6 to 1"]);
}

#[test]
fn a_pin_pauses_the_request_timeout() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.at(secs(29));
    rig.pin(1);
    rig.take();
    rig.at(secs(10_000));
    assert_eq!(rig.take(), [""; 0]);
    assert_eq!(rig.pool.snapshot().pinned, 1);
    assert!(rig.responded(1), "pinned or not, its caller waits");
}

#[test]
fn a_resume_restores_the_whole_time() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.at(secs(29));
    rig.pin(1);
    rig.at(secs(100));
    rig.resume(1);
    rig.take();
    rig.at(secs(130) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(130));
    assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
    assert_eq!(rig.pool.snapshot().failed, 1);
}

#[test]
fn a_resume_uses_the_current_limits() {
    let mut rig = pinned(exclusive(1));
    rig.set_limits(with(exclusive(1), |limits| limits.request_timeout = secs(5)));
    rig.at(secs(100));
    rig.resume(1);
    rig.at(secs(105));
    assert_eq!(rig.take(), ["fail 1: request-timeout", "retire 1: timeout"]);
}

#[test]
fn a_drain_waits_for_the_second_half() {
    let mut rig = pinned(exclusive(1));
    rig.drain();
    rig.at(secs(1000));
    assert_eq!(rig.take(), [""; 0]);
    rig.resume(1);
    assert_eq!(rig.take(), [""; 0]);
    assert!(rig.responded(1));
    rig.ended(1);
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: drain"]);
    rig.dropped(1);
    assert!(rig.pool.is_drained());
    assert_eq!(rig.pool.snapshot().responded, 1);
}

#[test]
fn a_closing_one_awaits_the_second_half() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(max_age(secs(50))));
    pin_first(&mut rig);
    rig.at(secs(100));
    assert_eq!(rig.take(), [""; 0], "it is too old, and closed");
    rig.resume(1);
    rig.at(secs(110));
    rig.pin(1);
    assert_eq!(rig.take(), [""; 0]);
    rig.finish(1);
    assert_eq!(rig.take(), ["retire 1: age"]);
}

/// Times that have to do with what an instance does, all together, of a second each.
fn timeouts() -> BoxExpiration {
    let all = idle_timeout(secs(1)).or(post_return_timeout(secs(1))).or(busy_timeout(secs(1)));
    boxed(standard().or(all))
}

#[test]
fn a_pin_pauses_the_policies_timeouts() {
    let mut rig = Rig::new(exclusive(1)).policy(timeouts);
    pin_first(&mut rig);
    rig.at(secs(100));
    assert_eq!(rig.take(), [""; 0]);
    rig.resume(1);
    rig.at(secs(101) - MS);
    assert_eq!(rig.take(), [""; 0], "busy anew");
    rig.at(secs(101));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

/// One of two requests on a shared instance is pinned; the other has done what it does after a second.
fn beside_pinned(policy: fn() -> BoxExpiration, other: fn(&mut Rig, u64)) -> Rig {
    let limits = with(shared(1, 2), |limits| limits.request_timeout = secs(1000));
    let mut rig = Rig::new(limits).policy(policy);
    rig.submit_many(2);
    rig.started(1);
    rig.settled(1);
    rig.settled(1);
    rig.pin(1);
    other(&mut rig, 2);
    rig.take();
    rig
}

#[test]
fn a_stall_beside_a_pin_only_closes() {
    let mut rig =
        beside_pinned(|| boxed(standard()), |rig, request| assert!(rig.responded(request)));
    rig.at(secs(100));
    assert_eq!(rig.take(), [""; 0]);
    rig.resume(1);
    assert!(rig.responded(1));
    rig.ended(1);
    assert_eq!(rig.take(), ["retire 1: timeout"], "nothing is left but a body that does not move");
}

#[test]
fn a_timeout_beside_a_pin_only_closes() {
    let mut rig = beside_pinned(|| boxed(busy_timeout(secs(5))), |_, _| ());
    rig.at(secs(100));
    assert_eq!(rig.take(), [""; 0]);
    assert!(rig.responded(1));
    rig.at(secs(100));
    assert_eq!(rig.take(), ["retire 1: timeout"], "it has been busy for long");
}

#[test]
fn a_pinned_instance_is_not_reclaimed() {
    let mut rig = Rig::new(exclusive(2)).budgeted();
    rig.submit();
    rig.grant();
    pin_started(&mut rig);
    rig.reclaim();
    assert_eq!(rig.take(), [""; 0]);
    assert_eq!(rig.claim().idle, 0);
    rig.set_limits(exclusive(0));
    assert_eq!(rig.take(), [""; 0], "nor is it one too many before it is idle");
    rig.finish(1);
    assert_eq!(rig.take(), ["retire 1: pressure"]);
}

fn pin_started(rig: &mut Rig) {
    rig.started(1);
    rig.pin(1);
    rig.take();
}

#[test]
fn a_stop_fails_a_pinned_request() {
    let mut rig = pinned(exclusive(1));
    rig.stop();
    assert_eq!(rig.take(), ["retire 1: drain"]);
    rig.dropped(1);
    assert_eq!(rig.take(), ["fail 1: retired, drain"]);
    assert!(rig.pool.is_drained());
    assert_eq!(rig.pool.snapshot().failed, 1);
}

#[test]
fn a_trap_fails_a_pinned_request() {
    let mut rig = pinned(exclusive(1));
    rig.broken(1, Reason::Trap);
    rig.dropped(1);
    assert_eq!(rig.take(), ["retire 1: trap", "fail 1: retired, trap"]);
}

#[test]
fn failing_a_pinned_request_frees_its_seat() {
    let mut rig = pinned(exclusive(1));
    rig.failed(1);
    rig.quiet(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.failed, snapshot.pinned, snapshot.instances.idle), (1, 0, 1));
}

#[test]
fn a_returned_pinned_request_waits_again() {
    let mut rig = pinned(exclusive(1));
    rig.broken(1, Reason::Host);
    rig.returned(1);
    rig.dropped(1);
    assert_eq!(rig.take(), ["retire 1: host", "start 2 for 1"], "it is not lost");
}

#[test]
fn cancelling_a_pin_ends_an_exclusive_one() {
    let mut rig = pinned(exclusive(1));
    rig.cancel(1);
    assert_eq!(rig.take(), ["retire 1: cancelled"]);
    rig.dropped(1);
    assert_eq!(rig.take(), [""; 0]);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.pinned, snapshot.failed), (1, 0, 0));
}

#[test]
fn cancelling_a_pin_restarts_a_shared_time() {
    let mut rig = pinned(shared(1, 2));
    rig.at(secs(100));
    rig.cancel(1);
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.cancelled, snapshot.pinned, snapshot.abandoned), (1, 0, 1));
    let view = &rig.newest_poll(1).view;
    assert_eq!((view.status, view.newest_busy), (Status::Busy, Some(rig.instant(secs(100)))));
    rig.submit();
    assert_eq!(rig.take(), ["assign 2 to 1"], "it is no longer kept for a request");
    rig.settled(1);
    assert!(rig.responded(2));
    rig.at(secs(160) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(160));
    assert_eq!(rig.take(), ["retire 1: timeout"], "twice the time, as after any departure");
}

#[test]
fn a_cancel_while_retiring_leaves_no_timer() {
    for pin in [true, false] {
        let mut rig = Rig::new(shared(1, 2));
        rig.submit();
        rig.started(1);
        rig.settled(1);
        if pin {
            rig.pin(1);
        }
        rig.stop();
        rig.cancel(1);
        assert_eq!(rig.timeout(), None, "the guest is being stopped");
        rig.dropped(1);
        assert_eq!(rig.pool.snapshot().cancelled, 1);
    }
}

//! Policies that look at the load of their pool: when they are polled again, and what they see.

use crate::common::{MS, NEVER, Rig, exclusive, secs, with};
use millpond_pool_core::expiration::{BoxExpiration, Expired, boxed, from_fn};
use millpond_pool_core::{Limits, MaxRequests, Reason, Status};
use std::task::Poll;

/// At most two run at a time, so that requests wait with no change to an instance.
fn two_at_a_time() -> Limits {
    with(exclusive(4), |limits| {
        limits.max_running = Some(2);
        limits.queue_timeout = secs(5);
    })
}

/// Two instances run a request each; their policies were polled and have not answered.
fn two_busy(limits: Limits) -> Rig {
    let mut rig = Rig::new(limits);
    rig.hold_verdicts = true;
    rig.submit_many(2);
    rig.started(1);
    rig.started(2);
    rig
}

/// How often an instance's policy was polled so far.
fn polls(rig: &Rig, instance: u64) -> usize {
    rig.polls.iter().filter(|polled| polled.view.id.number() == instance).count()
}

#[test]
fn queue_changes_poll_load_watchers() {
    let mut rig = two_busy(two_at_a_time());
    rig.watches_load(1);
    let before = polls(&rig, 1);
    rig.submit();
    assert_eq!(polls(&rig, 1), before + 1);
    assert_eq!(rig.newest_poll(1).load.queued, 1);
    rig.watches_load(1);
    rig.submit();
    assert_eq!(polls(&rig, 1), before + 1, "one more that waits is no news");
    rig.cancel(4);
    rig.cancel(3);
    assert_eq!(polls(&rig, 1), before + 2);
    assert_eq!(rig.newest_poll(1).load.queued, 0);
}

#[test]
fn pressure_changes_poll_load_watchers() {
    let mut rig = two_busy(with(exclusive(3), |limits| limits.start_timeout = NEVER));
    rig.submit_many(2);
    rig.cancel(3);
    rig.watches_load(1);
    let before = polls(&rig, 1);
    assert!(rig.newest_poll(1).load.pressure, "3 is on its way out still");
    rig.dropped(3);
    assert_eq!(polls(&rig, 1), before + 1);
    assert!(!rig.newest_poll(1).load.pressure);
    rig.watches_load(1);
    rig.submit();
    assert_eq!(polls(&rig, 1), before + 2);
    assert!(rig.newest_poll(1).load.pressure);
}

#[test]
fn load_changes_poll_watchers_only() {
    let mut rig = two_busy(two_at_a_time());
    rig.watches_load(1);
    rig.verdict(2, Poll::Pending, None);
    let before = polls(&rig, 2);
    rig.submit();
    rig.cancel(3);
    assert_eq!(polls(&rig, 2), before);
}

#[test]
fn former_load_watchers_are_not_polled() {
    let mut rig = two_busy(two_at_a_time());
    rig.watches_load(1);
    rig.verdict(1, Poll::Pending, None);
    let before = polls(&rig, 1);
    rig.submit();
    assert_eq!(polls(&rig, 1), before);
}

#[test]
fn a_load_change_in_a_poll_is_not_missed() {
    let mut rig = two_busy(two_at_a_time());
    rig.watches_load(1);
    let before = polls(&rig, 2);
    assert_eq!(rig.newest_poll(2).load.queued, 0);
    rig.submit();
    rig.watches_load(2);
    assert_eq!(polls(&rig, 2), before + 1, "its answer was about a pool where none waited");
    assert_eq!(rig.newest_poll(2).load.queued, 1);
}

#[test]
fn load_watchers_are_not_polled_needlessly() {
    let mut rig = two_busy(two_at_a_time());
    rig.watches_load(1);
    rig.submit();
    rig.verdict(1, Poll::Pending, None);
    rig.cancel(3);
    rig.wake_policy(2);
    let before = polls(&rig, 2);
    rig.watches_load(2);
    assert_eq!(polls(&rig, 2), before, "it has seen the load as it is");
    rig.submit();
    assert_eq!(polls(&rig, 2), before + 1);
}

#[test]
fn the_load_is_that_of_the_moment() {
    let mut rig = two_busy(two_at_a_time());
    rig.submit();
    rig.wake_policy(1);
    let load = rig.newest_poll(1).load;
    assert_eq!((load.queued, load.running, load.idle, load.live), (1, 2, 0, 2));
    assert!(!load.pressure, "it waits for max_running, not for an instance");
    rig.cancel(3);
    rig.finish(2);
    let load = rig.newest_poll(2).load;
    assert_eq!((load.queued, load.running, load.idle, load.live), (0, 1, 1, 2));
}

#[test]
fn a_policy_may_keep_idle_ones_for_a_queue() {
    fn policy() -> BoxExpiration {
        boxed(from_fn(|cx| {
            let load = cx.load();
            if cx.view().status == Status::Idle && load.queued == 0 {
                Poll::Ready(Expired::Retire(Reason::Idle))
            } else {
                Poll::Pending
            }
        }))
    }
    let mut rig = Rig::new(with(exclusive(2), |limits| {
        limits.max_requests = MaxRequests::unlimited();
        limits.max_running = Some(2);
    }))
    .policy(policy);
    rig.submit_many(3);
    rig.started(1);
    rig.started(2);
    rig.set_limits(with(exclusive(2), |limits| limits.max_running = Some(1)));
    rig.finish(1);
    rig.take();
    rig.at(4 * MS);
    rig.cancel(3);
    assert_eq!(rig.take(), ["retire 1: idle"], "nothing about the instance has changed");
}

//! Policies at work in a pool: when they are polled, which verdicts count, and what a verdict does.

use std::task::Poll;

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{Expired, Polled};
use millpond_pool_core::{Reason, Status};

/// An instance that has served one request and is idle since 0 s.
fn idle(mut rig: Rig) -> Rig {
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.finish(1);
    rig.take();
    rig
}

/// A rig whose verdicts the test gives.
fn held(limits: millpond_pool_core::Limits) -> Rig {
    let mut rig = Rig::new(limits);
    rig.hold_verdicts = true;
    rig
}

#[test]
fn a_verdict_on_an_older_view_is_ignored() {
    let mut rig = idle(held(exclusive(1)));
    let revision = rig.newest_poll(1).revision;
    assert_eq!(rig.newest_poll(1).view.status, Status::Idle);
    rig.submit();
    assert_eq!(rig.newest_poll(1).view.status, Status::Busy);
    rig.take();
    rig.raw_verdict(1, revision, Poll::Ready(Expired::Retire(Reason::Idle)), None);
    assert_eq!(rig.take(), [""; 0], "it is busy by now");
    rig.raw_verdict(1, revision, Poll::Pending, Some(secs(1)));
    rig.verdict(1, Poll::Pending, Some(secs(2)));
    rig.at(secs(1));
    assert_eq!(rig.newest_poll(1).at, secs(0), "the older view's wake-up is void too");
    rig.verdict(1, Poll::Ready(Expired::Retire(Reason::Memory)), None);
    assert_eq!(rig.take(), ["retire 1: memory"]);
}

#[test]
fn a_policy_is_polled_when_it_asked() {
    let mut rig = idle(held(exclusive(1)));
    rig.verdict(1, Poll::Pending, Some(secs(7)));
    let polls = rig.polls.len();
    rig.at(secs(7) - MS);
    assert_eq!(rig.polls.len(), polls);
    assert_eq!(rig.timeout(), Some(secs(7)));
    rig.at(secs(7));
    assert_eq!((rig.polls.len(), rig.newest_poll(1).at), (polls + 1, secs(7)));
    rig.verdict(1, Poll::Pending, None);
    assert_eq!(rig.timeout(), None, "it asked for no other time");
}

#[test]
fn past_wake_ups_poll_once_a_millisecond() {
    let mut rig = idle(held(exclusive(1)));
    rig.at(secs(20));
    for ms in 1..=3 {
        rig.verdict(1, Poll::Pending, Some(secs(1)));
        assert_eq!(rig.timeout(), Some(secs(20) + ms * MS));
        rig.at(secs(20) + ms * MS);
        assert_eq!(rig.newest_poll(1).at, secs(20) + ms * MS);
    }
}

#[test]
fn the_newest_answer_sets_the_next_poll() {
    let mut rig = idle(held(exclusive(1)));
    rig.at(secs(11));
    rig.wake_policy(1);
    rig.verdict(1, Poll::Pending, Some(secs(50)));
    rig.wake_policy(1);
    rig.verdict(1, Poll::Pending, Some(secs(20)));
    assert_eq!(rig.timeout(), Some(secs(20)));
}

#[test]
fn answers_already_kept_add_nothing() {
    let mut rig = idle(held(exclusive(1)));
    let asked = |rig: &Rig| rig.newest_poll(1).asked;
    let pending = || Polled::from(Poll::Pending);
    let (sooner, then, later) = (rig.instant(secs(6)), rig.instant(secs(7)), rig.instant(secs(8)));
    assert!(!pending().adds_to(asked(&rig)));
    assert!(pending().wake_at(then).adds_to(asked(&rig)));
    rig.verdict(1, Poll::Pending, Some(secs(7)));
    rig.wake_policy(1);
    assert!(pending().wake_at(sooner).adds_to(asked(&rig)));
    assert!(!pending().wake_at(then).adds_to(asked(&rig)));
    assert!(!pending().wake_at(later).adds_to(asked(&rig)), "it is polled at 7 s, and asks anew");
    assert!(!pending().adds_to(asked(&rig)));
    let drained = Polled::from(Poll::Ready(Expired::Drain(Reason::Age)));
    assert!(drained.adds_to(asked(&rig)), "a verdict is not kept");
    rig.at(secs(7));
    assert!(pending().wake_at(later).adds_to(asked(&rig)), "the time has come");
    assert!(!pending().adds_to(asked(&rig)));
    rig.watches_load(1);
    rig.wake_policy(1);
    assert!(pending().adds_to(asked(&rig)), "it looks at the load no more");
}

#[test]
fn a_woken_policy_is_polled_once() {
    let mut rig = idle(held(exclusive(1)));
    let polls = rig.polls.len();
    rig.wake_policy(1);
    assert_eq!(rig.polls.len(), polls + 1);
    rig.at(secs(9));
    assert_eq!(rig.polls.len(), polls + 1);
}

#[test]
fn a_policy_sees_all_changes_but_the_start() {
    let mut rig = held(exclusive(1));
    rig.submit();
    assert_eq!(rig.polls.len(), 0, "there is nothing to see yet");
    rig.at(secs(1));
    rig.started(1);
    assert!(rig.responded(1));
    rig.at(secs(2));
    rig.ended(1);
    rig.at(secs(3));
    rig.quiet(1);
    let seen: Vec<_> = rig.polls.iter().map(|polled| polled.view.status).collect();
    assert_eq!(seen, [Status::Busy, Status::Streaming, Status::PostReturn, Status::Idle]);
    let view = &rig.newest_poll(1).view;
    assert_eq!((view.requests, view.busy, view.streaming), (1, 0, 0));
    assert_eq!((view.started, view.since), (rig.instant(secs(1)), rig.instant(secs(3))));
}

#[test]
fn a_policy_is_polled_on_the_newest_view() {
    let mut rig = idle(held(exclusive(1)));
    rig.reserve().expect("a place");
    let polls = rig.polls.len();
    rig.pool.handle_policy_wake(rig.id(1));
    rig.pool.handle_policy_wake(rig.id(1));
    rig.submit_reserved();
    assert_eq!(rig.polls.len(), polls + 1);
    assert_eq!(rig.newest_poll(1).view.status, Status::Busy);
}

#[test]
fn only_live_instances_are_polled() {
    let mut rig = held(exclusive(1));
    rig.submit();
    rig.set_limits(exclusive(2));
    rig.wake_policy(1);
    assert_eq!(rig.polls.len(), 0, "it starts");
    rig.started(1);
    assert_eq!(rig.polls.len(), 1);
    rig.broken(1, Reason::Trap);
    rig.wake_policy(1);
    rig.failed(1);
    assert_eq!(rig.polls.len(), 1, "nothing it could say would matter");
    rig.dropped(1);
    assert_eq!(rig.polls.len(), 1);
}

#[test]
fn the_view_counts_requests_by_stage() {
    let mut rig = held(shared(1, 9));
    rig.submit_many(5);
    rig.started(1);
    (0..5).for_each(|_| rig.settled(1));
    assert!(rig.responded(1) && rig.responded(2));
    rig.cancel(3);
    let view = &rig.newest_poll(1).view;
    assert_eq!((view.requests, view.streaming), (5, 2));
    assert_eq!(view.busy, 3, "the one whose caller has left is still being worked on");
}

#[test]
fn a_drain_verdict_finishes_what_runs() {
    let mut rig = held(shared(2, 4));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.take();
    rig.verdict(1, Poll::Ready(Expired::Drain(Reason::Age)), None);
    assert_eq!(rig.take(), [""; 0]);
    rig.submit();
    assert_eq!(rig.take(), ["start 2"]);
    rig.finish(1);
    assert_eq!(rig.take(), ["retire 1: age"]);
}

#[test]
fn waiters_on_a_drained_one_get_another() {
    let mut rig = held(with(shared(2, 4), |limits| limits.settle_time = NEVER));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.verdict(1, Poll::Ready(Expired::Drain(Reason::Age)), None);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn a_drain_verdict_ends_an_idle_instance() {
    let mut rig = idle(held(exclusive(1)));
    rig.verdict(1, Poll::Ready(Expired::Drain(Reason::Swap)), None);
    assert_eq!(rig.take(), ["retire 1: swap"]);
}

#[test]
fn a_retire_verdict_ends_what_runs() {
    let mut rig = held(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.take();
    rig.verdict(1, Poll::Ready(Expired::Retire(Reason::Memory)), None);
    rig.dropped(1);
    assert_eq!(rig.take(), ["retire 1: memory", "fail 1: retired, memory"]);
}

#[test]
fn a_retire_verdict_overrules_a_drain() {
    let mut rig = held(exclusive(1));
    rig.submit();
    rig.started(1);
    rig.take();
    rig.verdict(1, Poll::Ready(Expired::Drain(Reason::Age)), None);
    rig.verdict(1, Poll::Ready(Expired::Drain(Reason::Swap)), None);
    rig.verdict(1, Poll::Ready(Expired::Retire(Reason::Memory)), None);
    assert_eq!(rig.take(), ["retire 1: memory"]);
}

#[test]
fn a_verdict_on_an_ending_one_is_ignored() {
    let mut rig = idle(held(exclusive(1)));
    let revision = rig.newest_poll(1).revision;
    rig.broken(1, Reason::Trap);
    rig.take();
    for revision in revision..revision + 3 {
        rig.raw_verdict(1, revision, Poll::Ready(Expired::Retire(Reason::Idle)), Some(secs(1)));
    }
    rig.wake_policy(1);
    rig.dropped(1);
    rig.raw_verdict(1, revision, Poll::Ready(Expired::Drain(Reason::Idle)), None);
    rig.wake_policy(1);
    assert_eq!((rig.take().len(), rig.timeout()), (0, None));
    assert_eq!(rig.pool.snapshot().retired.get(Reason::Trap), 1);
}

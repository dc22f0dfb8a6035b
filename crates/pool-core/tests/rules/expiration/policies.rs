//! Policies and their combinators on their own: every branch is polled each time, and the order of
//! the branches does not matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::common::{NEVER, Rig, exclusive, secs};
use millpond_pool_core::expiration::{
    BoxExpiration, ExpirationContext, Expired, InstanceExpiration, all, any, boxed, busy_timeout,
    from_fn, idle_timeout, max_requests,
};
use millpond_pool_core::{InstanceView, Reason, Status};
use proptest::prelude::*;
use proptest::sample::select;

/// The view of an instance that has been idle since `since`.
fn idle_since(since: Instant) -> InstanceView {
    let mut rig = Rig::new(exclusive(1));
    rig.hold_verdicts = true;
    rig.submit();
    rig.started(1);
    let mut view = rig.newest_poll(1).view.clone();
    (view.status, view.since, view.started) = (Status::Idle, since, since);
    (view.busy, view.newest_busy) = (0, None);
    view
}

/// A policy's verdict, and when it wants to be polled again.
fn poll(policy: &mut BoxExpiration, view: &InstanceView, now: Instant) -> Answer {
    let mut cx = ExpirationContext::new(now, view, Waker::noop());
    let verdict = policy.as_mut().poll_expired(&mut cx);
    (verdict, cx.requested_wake())
}

type Answer = (Poll<Expired>, Option<Instant>);

/// A policy that always answers the same, and counts how often it was asked.
fn fixed(
    verdict: Poll<Expired>,
    wake_at: Option<Instant>,
    polls: &Arc<AtomicUsize>,
) -> BoxExpiration {
    let polls = Arc::clone(polls);
    boxed(from_fn(move |cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        if let Some(at) = wake_at {
            cx.wake_at(at);
        }
        verdict
    }))
}

const DRAIN_AGE: Poll<Expired> = Poll::Ready(Expired::Drain(Reason::Age));
const DRAIN_IDLE: Poll<Expired> = Poll::Ready(Expired::Drain(Reason::Idle));
const RETIRE_TRAP: Poll<Expired> = Poll::Ready(Expired::Retire(Reason::Trap));
const RETIRE_MEMORY: Poll<Expired> = Poll::Ready(Expired::Retire(Reason::Memory));

/// What the combinator says of branches with these verdicts; each must have been polled.
fn combined(
    combine: impl FnOnce(Vec<BoxExpiration>) -> BoxExpiration,
    verdicts: &[Poll<Expired>],
) -> Poll<Expired> {
    let now = Instant::now();
    let polls = Arc::new(AtomicUsize::new(0));
    let branches = verdicts.iter().map(|verdict| fixed(*verdict, None, &polls)).collect();
    let (verdict, _) = poll(&mut combine(branches), &idle_since(now), now);
    assert_eq!(polls.load(Ordering::Relaxed), verdicts.len(), "every branch is polled, once");
    verdict
}

fn any_of(verdicts: &[Poll<Expired>]) -> Poll<Expired> {
    combined(|branches| boxed(any(branches)), verdicts)
}

fn all_of(verdicts: &[Poll<Expired>]) -> Poll<Expired> {
    combined(|branches| boxed(all(branches)), verdicts)
}

#[test]
fn any_expires_with_the_strongest_verdict() {
    assert_eq!(any_of(&[]), Poll::Pending);
    assert_eq!(any_of(&[Poll::Pending, Poll::Pending]), Poll::Pending);
    assert_eq!(any_of(&[Poll::Pending, DRAIN_AGE, Poll::Pending]), DRAIN_AGE);
    assert_eq!(any_of(&[DRAIN_IDLE, RETIRE_TRAP]), RETIRE_TRAP, "retire before drain");
    assert_eq!(any_of(&[RETIRE_TRAP, RETIRE_MEMORY]), RETIRE_MEMORY, "then the first reason");
    assert_eq!(any_of(&[DRAIN_AGE, DRAIN_IDLE]), DRAIN_IDLE);
}

#[test]
fn all_expires_with_the_weakest_verdict() {
    assert_eq!(all_of(&[]), Poll::Pending);
    assert_eq!(all_of(&[DRAIN_AGE, Poll::Pending]), Poll::Pending);
    assert_eq!(all_of(&[Poll::Pending, RETIRE_TRAP]), Poll::Pending);
    assert_eq!(all_of(&[RETIRE_TRAP, DRAIN_AGE]), DRAIN_AGE, "drain before retire");
    assert_eq!(all_of(&[RETIRE_TRAP, RETIRE_MEMORY]), RETIRE_MEMORY, "then the first reason");
}

#[test]
fn a_ready_branch_keeps_others_wake_ups() {
    let now = Instant::now();
    let polls = Arc::new(AtomicUsize::new(0));
    let make = || {
        [
            fixed(DRAIN_AGE, None, &polls),
            fixed(Poll::Pending, Some(now + secs(9)), &polls),
            fixed(Poll::Pending, Some(now + secs(4)), &polls),
        ]
    };
    let view = idle_since(now);
    assert_eq!(poll(&mut boxed(any(make())), &view, now), (DRAIN_AGE, Some(now + secs(4))));
    assert_eq!(poll(&mut boxed(all(make())), &view, now), (Poll::Pending, Some(now + secs(4))));
}

#[test]
fn or_and_and_are_any_and_all() {
    let now = Instant::now();
    let view = idle_since(now);
    let policies = || (idle_timeout(secs(10)), max_requests(1));
    let (idle, served) = policies();
    let drain = Poll::Ready(Expired::Drain(Reason::Requests));
    assert_eq!(poll(&mut boxed(idle.or(served)), &view, now), (drain, Some(now + secs(10))));
    let (idle, served) = policies();
    let mut both = boxed(idle.and(served));
    assert_eq!(poll(&mut both, &view, now), (Poll::Pending, Some(now + secs(10))));
    assert_eq!(poll(&mut both, &view, now + secs(10)), (drain, None));
}

#[test]
fn a_ready_policy_may_be_pending_again() {
    let now = Instant::now();
    let mut view = idle_since(now);
    let mut policy = boxed(idle_timeout(secs(10)).or(busy_timeout(secs(5))));
    let idle = Poll::Ready(Expired::Retire(Reason::Idle));
    assert_eq!(poll(&mut policy, &view, now + secs(10)), (idle, None));
    (view.status, view.since) = (Status::Busy, now + secs(10));
    view.newest_busy = Some(now + secs(10));
    let wake = Some(now + secs(15));
    assert_eq!(poll(&mut policy, &view, now + secs(10)), (Poll::Pending, wake));
}

#[test]
fn a_time_too_far_away_to_be_named_is_never() {
    let now = Instant::now();
    let view = idle_since(now);
    assert_eq!(poll(&mut boxed(idle_timeout(NEVER)), &view, now), (Poll::Pending, None));
    let expired = Poll::Ready(Expired::Retire(Reason::Idle));
    assert_eq!(poll(&mut boxed(idle_timeout(Duration::ZERO)), &view, now), (expired, None));
}

#[test]
fn a_view_from_the_future_does_no_harm() {
    let now = Instant::now();
    let view = idle_since(now + secs(5));
    let answer = poll(&mut boxed(idle_timeout(secs(1))), &view, now);
    assert_eq!(answer, (Poll::Pending, Some(now + secs(6))));
}

#[test]
fn branches_get_the_waker_of_the_whole() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let wakes = || {
        boxed(from_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    };
    let now = Instant::now();
    let view = idle_since(now);
    let mut cx = ExpirationContext::new(now, &view, &waker);
    let mut policy = boxed(any([wakes(), boxed(all([wakes(), wakes()]))]));
    assert_eq!(policy.as_mut().poll_expired(&mut cx), Poll::Pending);
    assert_eq!(count.0.load(Ordering::Relaxed), 3);
}

fn branch() -> impl Strategy<Value = (Poll<Expired>, Option<u64>)> {
    let verdict = prop_oneof![
        Just(Poll::Pending),
        select(Reason::ALL).prop_map(|reason| Poll::Ready(Expired::Drain(reason))),
        select(Reason::ALL).prop_map(|reason| Poll::Ready(Expired::Retire(reason))),
    ];
    (verdict, proptest::option::of(0..100u64))
}

proptest! {
    #[test]
    fn branch_order_does_not_matter(
        (branches, shuffled) in proptest::collection::vec(branch(), 0..6)
            .prop_flat_map(|branches| (Just(branches.clone()), Just(branches).prop_shuffle())),
    ) {
        let now = Instant::now();
        let view = idle_since(now);
        let polls = Arc::new(AtomicUsize::new(0));
        let make = |branches: &[(Poll<Expired>, Option<u64>)]| -> Vec<_> {
            let fixed = |(verdict, wake): &(Poll<Expired>, Option<u64>)| {
                fixed(*verdict, wake.map(|ms| now + Duration::from_millis(ms)), &polls)
            };
            branches.iter().map(fixed).collect()
        };
        let first = poll(&mut boxed(any(make(&branches))), &view, now);
        prop_assert_eq!(first, poll(&mut boxed(any(make(&shuffled))), &view, now));
        let first = poll(&mut boxed(all(make(&branches))), &view, now);
        prop_assert_eq!(first, poll(&mut boxed(all(make(&shuffled))), &view, now));
        prop_assert_eq!(polls.load(Ordering::Relaxed), 4 * branches.len());
    }
}

//! Times and counts that are shortened at random.

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::{NEVER, Rig, exclusive, secs, with};
use millpond_pool_core::expiration::{
    BoxExpiration, ExpirationContext, Expired, InstanceExpiration, any, boxed, from_fn,
    idle_timeout, max_age, max_requests,
};
use millpond_pool_core::{InstanceView, Reason};
use proptest::prelude::*;

/// The time at which a policy of an idle instance with this draw asks to be polled, after `now`.
fn wake(policy: impl InstanceExpiration, draw: f64) -> Option<Duration> {
    let now = Instant::now();
    let mut view = InstanceView::idle(now);
    view.random = draw;
    let mut policy = boxed(policy);
    let mut cx = ExpirationContext::new(now, &view, Waker::noop());
    assert_eq!(policy.as_mut().poll_expired(&mut cx), Poll::Pending);
    let first = cx.requested_wake();
    let mut cx = ExpirationContext::new(now, &view, Waker::noop());
    assert_eq!(policy.as_mut().poll_expired(&mut cx), Poll::Pending);
    assert_eq!(cx.requested_wake(), first, "the same in each poll");
    first.map(|at| at - now)
}

/// How many requests an instance with this draw may serve.
fn served(policy: impl InstanceExpiration, draw: f64) -> u64 {
    let mut view = InstanceView::idle(Instant::now());
    view.random = draw;
    let mut policy = boxed(policy);
    let ends = |requests: &u64| {
        view.requests = *requests;
        let mut cx = ExpirationContext::new(view.since, &view, Waker::noop());
        policy.as_mut().poll_expired(&mut cx).is_ready()
    };
    (0..1000).find(ends).expect("an end")
}

#[test]
fn a_time_is_shortened_by_the_draw() {
    assert_eq!(wake(max_age(secs(100)).jitter(0.5), 0.0), Some(secs(100)));
    assert_eq!(wake(max_age(secs(100)).jitter(0.5), 0.5), Some(secs(75)));
    assert_eq!(wake(idle_timeout(secs(100)).jitter(0.2), 0.5), Some(secs(90)));
}

#[test]
fn a_count_is_never_shortened_to_zero() {
    assert_eq!(served(max_requests(100).jitter(0.5), 0.5), 75);
    assert_eq!(served(max_requests(1).jitter(1.0), 0.999), 1);
    assert_eq!(served(max_requests(0).jitter(1.0), 0.5), 0, "as without");
}

#[test]
fn nested_jitters_both_apply() {
    assert_eq!(wake(max_age(secs(100)).jitter(0.5).jitter(0.2), 0.5), Some(secs(100) * 27 / 40));
    let twice = boxed(max_age(secs(100)).jitter(0.5)).jitter(0.5);
    assert_eq!(wake(twice, 0.5), Some(secs(225) / 4));
}

#[test]
fn jitter_leaves_sibling_policies_alone() {
    let before = any([boxed(max_age(secs(100)).jitter(0.9)), boxed(max_age(secs(50)))]);
    assert_eq!(wake(before, 0.0), Some(secs(50)));
    let after = any([boxed(max_age(secs(300)).jitter(0.5)), boxed(max_age(secs(200)))]);
    assert_eq!(wake(after, 0.2), Some(secs(200)));
}

#[test]
fn jitter_applies_to_all_branches() {
    let both = idle_timeout(secs(100)).or(max_age(secs(60))).jitter(0.5);
    assert_eq!(wake(both, 0.5), Some(secs(45)));
}

#[test]
fn never_stays_never() {
    assert_eq!(wake(max_age(NEVER).jitter(1.0), 0.9), None);
}

#[test]
fn invalid_fractions_are_clamped() {
    assert_eq!(wake(max_age(secs(100)).jitter(-1.0), 0.5), Some(secs(100)));
    assert_eq!(wake(max_age(secs(100)).jitter(f64::NAN), 0.5), Some(secs(100)));
    assert_eq!(wake(max_age(secs(100)).jitter(7.0), 0.5), Some(secs(50)));
}

#[test]
fn a_custom_policy_may_use_the_jitter() {
    let own = from_fn(|cx: &mut ExpirationContext<'_>| {
        assert_eq!((cx.shorten(secs(100)), cx.shorten_count(10)), (secs(75), 7));
        Poll::Ready(Expired::Drain(Reason::Age))
    });
    let mut policy = boxed(own.jitter(0.5));
    let mut view = InstanceView::idle(Instant::now());
    view.random = 0.5;
    let mut cx = ExpirationContext::new(view.since, &view, Waker::noop());
    assert!(policy.as_mut().poll_expired(&mut cx).is_ready());
}

#[test]
fn jitter_spreads_simultaneous_ends() {
    fn policy() -> BoxExpiration {
        boxed(max_age(secs(1000)).jitter(0.5))
    }
    let limits = with(exclusive(20), |limits| limits.request_timeout = NEVER);
    let mut rig = Rig::seeded(limits, 3).policy(policy);
    rig.submit_many(20);
    (1..=20).for_each(|instance| rig.started(instance));
    (1..=20).for_each(|request| rig.finish(request));
    rig.take();
    let mut ends = Vec::new();
    while ends.len() < 20 {
        rig.jump(rig.timeout().expect("an end"));
        ends.extend(rig.take().iter().map(|_| rig.elapsed()));
    }
    assert!(ends.iter().all(|at| (secs(500)..=secs(1000)).contains(at)), "{ends:?}");
    ends.dedup();
    assert!(ends.len() > 15, "{ends:?}");
}

proptest! {
    #[test]
    fn jitter_shortens_within_its_fraction(
        ms in 1..100_000u64,
        fraction in 0.0..1.0f64,
        draw in 0.0..1.0f64,
    ) {
        let time = Duration::from_millis(ms);
        let shortened = wake(max_age(time).jitter(fraction), draw).unwrap_or_default();
        let least = time.mul_f64(1.0 - fraction).saturating_sub(Duration::from_nanos(1));
        prop_assert!(shortened <= time && shortened >= least, "{:?} of {:?}", shortened, time);
    }
}

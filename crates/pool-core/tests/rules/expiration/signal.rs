//! Signals, and the policies that follow them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::common::secs;
use millpond_pool_core::expiration::{
    BoxExpiration, ExpirationContext, Expired, Signal, all, any, boxed, idle_timeout,
};
use millpond_pool_core::{InstanceView, Reason, Status};

const RETIRE: Expired = Expired::Retire(Reason::Memory);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Polls with a waker that counts.
fn poll(policy: &mut BoxExpiration, count: &Arc<Count>) -> Poll<Expired> {
    let now = Instant::now();
    let waker = Waker::from(Arc::clone(count));
    let view = InstanceView::idle(now);
    policy.as_mut().poll_expired(&mut ExpirationContext::new(now, &view, &waker))
}

#[test]
fn a_raised_signal_expires_its_followers() {
    let signal = Signal::new();
    let (mut policy, count) = (boxed(signal.follow(RETIRE)), Arc::default());
    assert_eq!(poll(&mut policy, &count), Poll::Pending);
    signal.raise();
    assert!(signal.is_raised());
    assert_eq!(poll(&mut policy, &count), Poll::Ready(RETIRE));
    signal.lower();
    assert!(!signal.is_raised());
    assert_eq!(poll(&mut policy, &count), Poll::Pending);
}

#[test]
fn raising_and_lowering_wake_all_followers() {
    let signal = Signal::new();
    let counts: [Arc<Count>; 2] = Default::default();
    let mut policies = [boxed(signal.follow(RETIRE)), boxed(signal.clone().follow(RETIRE))];
    for (policy, count) in policies.iter_mut().zip(&counts) {
        assert_eq!(poll(policy, count), Poll::Pending);
    }
    signal.clone().raise();
    assert_eq!(counts.each_ref().map(|count| count.get()), [1, 1]);
    signal.lower();
    assert_eq!(counts.each_ref().map(|count| count.get()), [2, 2], "to take a verdict back");
}

#[test]
fn raising_twice_wakes_no_follower() {
    let signal = Signal::new();
    let (mut policy, count) = (boxed(signal.follow(RETIRE)), Arc::<Count>::default());
    signal.lower();
    assert_eq!(poll(&mut policy, &count), Poll::Pending);
    signal.lower();
    assert_eq!(count.get(), 0);
    signal.raise();
    signal.raise();
    assert_eq!(count.get(), 1);
}

#[test]
fn a_late_follower_expires_at_once() {
    let signal = Signal::new();
    signal.raise();
    let mut policy = boxed(signal.follow(RETIRE));
    assert_eq!(poll(&mut policy, &Arc::default()), Poll::Ready(RETIRE));
}

#[test]
fn only_the_newest_waker_is_kept() {
    let signal = Signal::new();
    let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
    let mut policy = boxed(signal.follow(RETIRE));
    assert_eq!(poll(&mut policy, &old), Poll::Pending);
    assert_eq!(poll(&mut policy, &new), Poll::Pending);
    assert_eq!(Arc::strong_count(&old), 1);
    signal.raise();
    assert_eq!((old.get(), new.get()), (0, 1));
}

#[test]
fn a_dropped_follower_takes_only_its_waker() {
    let signal = Signal::new();
    let (gone, stays) = (Arc::<Count>::default(), Arc::<Count>::default());
    let mut first = boxed(signal.follow(RETIRE));
    let mut second = boxed(signal.follow(RETIRE));
    assert_eq!(poll(&mut first, &gone), Poll::Pending);
    assert_eq!(poll(&mut second, &stays), Poll::Pending);
    drop(first);
    assert_eq!(Arc::strong_count(&gone), 1, "the signal keeps nothing of it");
    signal.raise();
    assert_eq!((gone.get(), stays.get()), (0, 1));
}

#[test]
fn a_waker_may_call_the_signal() {
    struct Calls(Signal);
    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            assert!(self.0.is_raised());
        }
    }
    let signal = Signal::new();
    let waker = Waker::from(Arc::new(Calls(signal.clone())));
    let now = Instant::now();
    let view = InstanceView::idle(now);
    let mut policy = boxed(signal.follow(RETIRE));
    let mut cx = ExpirationContext::new(now, &view, &waker);
    assert_eq!(policy.as_mut().poll_expired(&mut cx), Poll::Pending);
    signal.raise();
}

#[test]
fn a_signal_combines_with_other_policies() {
    let signal = Signal::new();
    let now = Instant::now();
    let view = InstanceView::idle(now);
    let early = all([
        boxed(idle_timeout(Duration::ZERO)),
        boxed(signal.follow(Expired::Retire(Reason::Swap))),
    ]);
    let mut policy = boxed(any([boxed(idle_timeout(secs(10))), boxed(early)]));
    let mut poll = || {
        let mut cx = ExpirationContext::new(now, &view, Waker::noop());
        (policy.as_mut().poll_expired(&mut cx), cx.requested_wake())
    };
    assert_eq!(poll(), (Poll::Pending, Some(now + secs(10))));
    signal.raise();
    let retired = Poll::Ready(Expired::Retire(Reason::Idle));
    assert_eq!(poll(), (retired, Some(now + secs(10))), "the first reason counts");
    signal.lower();
    assert_eq!(poll(), (Poll::Pending, Some(now + secs(10))));
}

/// What a follower of a raised signal says of a view.
fn raised(when_idle: bool, change: impl FnOnce(&mut InstanceView)) -> Poll<Expired> {
    let (signal, now) = (Signal::new(), Instant::now());
    signal.raise();
    let follow = signal.follow(RETIRE);
    let mut policy = boxed(if when_idle { follow.when_idle() } else { follow });
    let mut view = InstanceView::idle(now);
    change(&mut view);
    policy.as_mut().poll_expired(&mut ExpirationContext::new(now, &view, Waker::noop()))
}

#[test]
fn when_idle_leaves_busy_ones_and_spares() {
    assert_eq!(raised(true, |_| {}), Poll::Ready(RETIRE));
    for status in [Status::Busy, Status::Pinned, Status::Streaming, Status::PostReturn] {
        let end = raised(true, |view| view.status = status);
        assert_eq!(end, Poll::Pending, "{status:?}");
    }
    assert_eq!(raised(true, |view| view.spare = true), Poll::Pending, "another would be made");
}

#[test]
fn another_follower_ends_whatever_it_finds() {
    use Status::{Busy, Idle, Pinned, PostReturn, Streaming};
    for status in [Busy, Pinned, Streaming, PostReturn, Idle] {
        let end = raised(false, |view| view.status = status);
        assert_eq!(end, Poll::Ready(RETIRE), "{status:?}");
    }
    assert_eq!(raised(false, |view| view.spare = true), Poll::Ready(RETIRE));
}

//! Policies that say for how long they are steady are polled less often, and nothing else is different.

use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{
    BoxExpiration, ExpirationContext, Expired, InstanceExpiration, Polled, Signal, all, any,
    body_stall_timeout, boxed, busy_timeout, from_fn, idle_timeout, max_age, max_requests,
    memory_watermark, post_return_timeout, resource_growth, standard,
};
use millpond_pool_core::{InstanceView, Limits, Reason, Status};
use proptest::collection::vec;
use proptest::prelude::*;

/// An instance that is busy since 0 s, and whose policy said that it is steady for as long.
fn steady(limits: Limits, time: Duration) -> Rig {
    let mut rig = Rig::new(limits);
    rig.hold_verdicts = true;
    rig.submit();
    rig.started(1);
    say_steady(&mut rig, time, None);
    rig.take();
    rig
}

fn say_steady(rig: &mut Rig, time: Duration, wake_at: Option<Duration>) {
    let polled = Polled::from(Poll::Pending).steady_for(time);
    let polled = wake_at.map_or(polled, |at| polled.wake_at(rig.instant(at)));
    let revision = rig.newest_poll(1).revision;
    rig.raw_answer(1, revision, polled);
}

#[test]
fn a_steady_policy_sees_changes_when_due() {
    let mut rig = steady(exclusive(1), secs(10));
    rig.at(secs(1));
    assert!(rig.responded(1));
    rig.at(secs(2));
    rig.ended(1);
    rig.quiet(1);
    rig.at(secs(11) - MS);
    assert_eq!(rig.polls.len(), 1, "the first change was at 1 s");
    assert_eq!(rig.timeout(), Some(secs(11)));
    rig.at(secs(11));
    assert_eq!(rig.polls.len(), 2);
    assert_eq!(rig.newest_poll(1).view.status, Status::Idle);
    rig.submit();
    assert_eq!(rig.polls.len(), 3, "it has not said that it is steady still");
}

#[test]
fn an_unchanged_steady_policy_is_not_polled() {
    let mut rig = steady(exclusive(1), secs(10));
    rig.at(secs(29));
    assert_eq!((rig.polls.len(), rig.timeout()), (1, Some(secs(30))), "the request's own");
}

#[test]
fn a_steady_policy_is_polled_when_it_asked() {
    let mut rig = steady(exclusive(1), NEVER);
    rig.wake_policy(1);
    say_steady(&mut rig, secs(10), Some(secs(4)));
    assert!(rig.responded(1));
    rig.at(secs(4) - MS);
    assert_eq!(rig.polls.len(), 2);
    rig.at(secs(4));
    assert_eq!(rig.polls.len(), 3);
}

#[test]
fn a_change_after_that_time_needs_no_timer() {
    let mut rig = steady(exclusive(1), secs(10));
    assert!(rig.responded(1));
    rig.pass(secs(10));
    rig.ended(1);
    assert_eq!(rig.polls.len(), 2);
}

#[test]
fn a_change_in_a_poll_voids_the_answer() {
    let mut rig = steady(exclusive(1), secs(10));
    rig.wake_policy(1);
    let revision = rig.newest_poll(1).revision;
    assert!(rig.responded(1));
    assert_eq!(rig.polls.len(), 3);
    rig.raw_answer(1, revision, Polled::from(Poll::Pending).steady_for(NEVER));
    rig.ended(1);
    assert_eq!(rig.polls.len(), 4);
}

#[test]
fn limits_and_usage_end_steadiness() {
    let mut rig = steady(exclusive(1), NEVER);
    rig.set_limits(exclusive(2));
    assert_eq!(rig.polls.len(), 2);
    say_steady(&mut rig, NEVER, None);
    rig.usage(1, 7, 0);
    assert_eq!(rig.polls.len(), 3);
    say_steady(&mut rig, NEVER, None);
    rig.usage(1, 7, 0);
    assert_eq!(rig.polls.len(), 3, "it holds the same");
}

#[test]
fn load_changes_poll_a_steady_watcher() {
    let mut rig = steady(exclusive(1), NEVER);
    rig.wake_policy(1);
    rig.watches_load(1);
    rig.wake_policy(1);
    let polls = rig.polls.len();
    let polled = rig.newest_poll(1);
    let mut cx = ExpirationContext::new(rig.instant(secs(0)), &polled.view, Waker::noop());
    let _load = cx.load();
    let (revision, answer) = (polled.revision, cx.finish(Poll::Pending).steady_for(NEVER));
    rig.raw_answer(1, revision, answer);
    rig.submit();
    assert_eq!(rig.polls.len(), polls + 1, "a request waits");
}

#[test]
fn momentary_steadiness_is_ignored() {
    let asked = steady(exclusive(1), secs(10)).newest_poll(1).asked;
    assert!(Polled::from(Poll::Pending).steady_for(100 * MS).adds_to(asked));
    assert!(!Polled::from(Poll::Pending).steady_for(99 * MS).adds_to(asked));
    let mut rig = steady(exclusive(1), 99 * MS);
    assert!(rig.responded(1));
    assert_eq!(rig.polls.len(), 2);
}

#[test]
fn policies_are_not_steady_by_default() {
    struct Around(BoxExpiration);
    impl InstanceExpiration for Around {
        fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
            self.0.as_mut().poll_expired(cx)
        }
    }
    let view = InstanceView::idle(Instant::now());
    let cx = ExpirationContext::new(view.since, &view, Waker::noop());
    assert_eq!(standard().steady_for(&cx), secs(10));
    assert_eq!(boxed(standard()).jitter(0.0).steady_for(&cx), secs(10));
    let around = || Around(boxed(standard()));
    assert_eq!(around().steady_for(&cx), Duration::ZERO);
    assert_eq!(standard().or(around()).steady_for(&cx), Duration::ZERO);
    assert_eq!(standard().and(around()).steady_for(&cx), Duration::ZERO);
    assert_eq!(from_fn(|_| Poll::Pending).steady_for(&cx), Duration::ZERO);
    assert_eq!((any([]).steady_for(&cx), all([]).steady_for(&cx)), (NEVER, NEVER));
}

#[test]
fn jitter_shortens_the_steady_time() {
    let mut view = InstanceView::idle(Instant::now());
    view.random = 0.5;
    let cx = ExpirationContext::new(view.since, &view, Waker::noop());
    assert_eq!(idle_timeout(secs(8)).jitter(0.5).steady_for(&cx), secs(6));
}

#[test]
fn busy_timeout_is_steady_if_none_is_older() {
    let mut view = InstanceView::idle(Instant::now());
    let of = |view: &InstanceView| {
        let cx = ExpirationContext::new(view.since, view, Waker::noop());
        busy_timeout(secs(8)).steady_for(&cx)
    };
    assert_eq!(of(&view), secs(8));
    view.busy = 1;
    assert_eq!(of(&view), secs(8));
    view.busy = 2;
    assert_eq!(of(&view), Duration::ZERO, "the newest may end, and the older one be overdue");
}

/// The same policy, which does not say that it is steady.
struct Restless(BoxExpiration);

impl InstanceExpiration for Restless {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        self.0.as_mut().poll_expired(cx)
    }
}

thread_local! {
    static SIGNAL: Signal = Signal::new();
}

fn follow(when_idle: bool) -> BoxExpiration {
    let follow = SIGNAL.with(|signal| signal.follow(Expired::Drain(Reason::Swap)));
    boxed(if when_idle { follow.when_idle() } else { follow })
}

fn timeouts() -> BoxExpiration {
    boxed(any([
        boxed(idle_timeout(700 * MS).jitter(0.5)),
        boxed(busy_timeout(900 * MS)),
        boxed(post_return_timeout(300 * MS)),
        boxed(body_stall_timeout(400 * MS)),
        boxed(max_age(secs(20)).jitter(1.0)),
    ]))
}

/// Each as it is, and restless.
macro_rules! twins {
    ($($policy:expr),* $(,)?) => {
        [$((|| $policy, || boxed(Restless($policy)))),*]
    };
}

type Make = fn() -> BoxExpiration;

const POLICIES: [(Make, Make); 8] = twins![
    boxed(standard()),
    boxed(standard().jitter(0.5)),
    timeouts(),
    boxed(idle_timeout(50 * MS).or(body_stall_timeout(secs(1)))),
    boxed(standard().or(memory_watermark(50)).or(resource_growth(20))),
    boxed(idle_timeout(Duration::ZERO).and(max_age(secs(2))).or(max_requests(9))),
    boxed(any([follow(false), boxed(all([boxed(idle_timeout(200 * MS)), follow(true)]))])),
    boxed(all([boxed(max_age(secs(1))), boxed(memory_watermark(30))]).or(busy_timeout(secs(3)))),
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit,
    Settle(usize),
    Respond(usize),
    Progress(usize),
    End(usize),
    Cancel(usize),
    Quiet(usize),
    Usage(usize, usize),
    Pass(u64),
    Limits(u64),
    Signal(bool),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let n = proptest::arbitrary::any::<usize>;
    prop_oneof![
        8 => Just(Submit),
        8 => n().prop_map(Settle),
        8 => n().prop_map(Respond),
        4 => n().prop_map(Progress),
        8 => n().prop_map(End),
        1 => n().prop_map(Cancel),
        8 => n().prop_map(Quiet),
        2 => (n(), 0..100usize).prop_map(|(n, held)| Usage(n, held)),
        12 => (0..400u64).prop_map(Pass),
        4 => (0..3000u64).prop_map(Pass),
        1 => (0..2000u64).prop_map(Limits),
        1 => proptest::arbitrary::any::<bool>().prop_map(Signal),
    ]
}

fn take_step(rig: &mut Rig, requests: &mut Vec<u64>, step: Step) {
    let instances: Vec<_> = rig.ledger.instances.keys().copied().collect();
    let on = |n: usize| instances.get(n % instances.len().max(1)).copied();
    let request = |n: usize| requests.get(n % requests.len().max(1)).copied();
    match step {
        Step::Submit => {
            if rig.reserve().is_ok() {
                requests.push(rig.submit_reserved());
            }
        }
        Step::Settle(n) => on(n).into_iter().for_each(|on| rig.settled(on)),
        Step::Respond(n) => {
            if let Some(request) = request(n) {
                let _told = rig.responded(request);
            }
        }
        Step::Progress(n) => request(n).into_iter().for_each(|request| rig.progress(request)),
        Step::End(n) => request(n).into_iter().for_each(|request| rig.ended(request)),
        Step::Cancel(n) => {
            if let Some(request) = request(n) {
                let _came_back = rig.cancel(request);
            }
        }
        Step::Quiet(n) => on(n).into_iter().for_each(|on| rig.quiet(on)),
        Step::Usage(n, held) => on(n).into_iter().for_each(|on| rig.usage(on, held, held)),
        Step::Pass(ms) => rig.at(rig.elapsed() + Duration::from_millis(ms)),
        Step::Limits(ms) => rig.set_limits(limits(Duration::from_millis(ms))),
        Step::Signal(_) => instances.into_iter().for_each(|on| rig.wake_policy(on)),
    }
}

fn limits(timeout: Duration) -> Limits {
    with(shared(2, 3), |limits| {
        (limits.idle_timeout, limits.post_return_timeout) = (timeout, timeout / 2);
        (limits.body_stall_timeout, limits.max_age) = (timeout * 2, timeout * 20);
        limits.request_timeout = secs(4);
    })
}

proptest! {
    #[test]
    fn steadiness_does_not_change_the_verdicts(
        (steady, restless) in proptest::sample::select(&POLICIES[..]),
        steps in vec(step(), 0..150),
    ) {
        let mut rigs = [steady, restless].map(|make| Rig::new(limits(secs(1))).policy(make));
        SIGNAL.with(Signal::lower);
        let mut requests = [Vec::new(), Vec::new()];
        for step in steps {
            if let Step::Signal(raised) = step {
                SIGNAL.with(|signal| if raised { signal.raise() } else { signal.lower() });
            }
            for (rig, requests) in rigs.iter_mut().zip(&mut requests) {
                take_step(rig, requests, step);
            }
            let [lines, others] = [0, 1].map(|n| rigs[n].take());
            prop_assert_eq!(&lines, &others, "{:?}", step);
            // An instance that ends does so at once, and one that is started has started.
            let of = |line: &str, what| line.strip_prefix(what)?.split([' ', ':']).next()?.parse().ok();
            for line in &lines {
                for rig in &mut rigs {
                    of(line, "start ").into_iter().for_each(|on: u64| rig.started(on));
                    of(line, "retire ").into_iter().for_each(|on: u64| rig.dropped(on));
                }
            }
            let [lines, others] = [0, 1].map(|n| rigs[n].take());
            prop_assert_eq!(lines, others, "after {:?}", step);
        }
        prop_assert!(rigs[0].polls.len() <= rigs[1].polls.len());
    }
}

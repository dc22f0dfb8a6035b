//! The laws of the combinators. Two policies are the same if they give the same verdict, ask for the
//! same time and look at the load alike, whatever their branches say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use millpond_pool_core::expiration::{
    BoxExpiration, ExpirationContext, Expired, InstanceExpiration, all, any, boxed, from_fn,
};
use millpond_pool_core::{InstanceView, Reason};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What a branch says, when it wants to be polled again, and whether it looks at the load.
#[derive(Clone, Copy, Debug)]
struct Branch {
    verdict: Poll<Expired>,
    /// Milliseconds: asked for as a time that may be shortened.
    wake: Option<u64>,
    watches: bool,
}

fn branch() -> impl Strategy<Value = Branch> {
    let verdict = prop_oneof![
        2 => Just(Poll::Pending),
        1 => select(Reason::ALL).prop_map(|reason| Poll::Ready(Expired::Drain(reason))),
        1 => select(Reason::ALL).prop_map(|reason| Poll::Ready(Expired::Retire(reason))),
    ];
    let all = (verdict, proptest::option::of(1..100u64), proptest::bool::weighted(0.2));
    all.prop_map(|(verdict, wake, watches)| Branch { verdict, wake, watches })
}

/// Makes policies at one time, and counts how often they are polled.
struct Maker {
    now: Instant,
    draw: f64,
    polls: Arc<AtomicUsize>,
}

/// Verdict, wake-up, and whether it looks at the load.
type Answer = (Poll<Expired>, Option<Instant>, bool);

type Combine = fn(Vec<BoxExpiration>) -> BoxExpiration;

const BOTH: [Combine; 2] = [|branches| boxed(any(branches)), |branches| boxed(all(branches))];

impl Maker {
    fn new(draw: f64) -> Self {
        Self { now: Instant::now(), draw, polls: Arc::default() }
    }

    fn one(&self, branch: &Branch) -> BoxExpiration {
        let (branch, polls) = (*branch, Arc::clone(&self.polls));
        boxed(from_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            if branch.watches {
                cx.load();
            }
            if let Some(ms) = branch.wake {
                let far =
                    cx.expire_at(cx.now(), Duration::from_millis(ms), Expired::Drain(Reason::Age));
                assert_eq!(far, Poll::Pending);
            }
            branch.verdict
        }))
    }

    fn many(&self, branches: &[Branch]) -> Vec<BoxExpiration> {
        branches.iter().map(|branch| self.one(branch)).collect()
    }

    fn ask(&self, policy: impl InstanceExpiration) -> Answer {
        let mut policy = boxed(policy);
        let mut view = InstanceView::idle(self.now);
        view.random = self.draw;
        let mut cx = ExpirationContext::new(self.now, &view, Waker::noop());
        let verdict = policy.as_mut().poll_expired(&mut cx);
        let wake = cx.requested_wake();
        // Only the pool may look into what comes of a poll; its text says it too.
        let polled = format!("{:?}", cx.finish(verdict));
        (verdict, wake, polled.contains("watches_load: true"))
    }

    fn polls(&self) -> usize {
        self.polls.swap(0, Ordering::Relaxed)
    }
}

proptest! {
    #[test]
    fn the_order_of_branches_does_not_matter(
        (branches, shuffled) in vec(branch(), 0..6)
            .prop_flat_map(|branches| (Just(branches.clone()), Just(branches).prop_shuffle())),
    ) {
        let maker = Maker::new(0.0);
        for combine in BOTH {
            let first = maker.ask(combine(maker.many(&branches)));
            prop_assert_eq!(first, maker.ask(combine(maker.many(&shuffled))));
        }
    }

    #[test]
    fn the_grouping_of_branches_does_not_matter(
        left in vec(branch(), 1..4),
        middle in vec(branch(), 1..4),
        right in vec(branch(), 1..4),
    ) {
        let maker = Maker::new(0.0);
        for combine in BOTH {
            let group = |branches: &[Branch]| combine(maker.many(branches));
            let flat = maker.ask(group(&[&left[..], &middle, &right].concat()));
            let first = combine(vec![combine(vec![group(&left), group(&middle)]), group(&right)]);
            prop_assert_eq!(flat, maker.ask(first));
            let last = combine(vec![group(&left), combine(vec![group(&middle), group(&right)])]);
            prop_assert_eq!(flat, maker.ask(last));
        }
    }

    #[test]
    fn or_is_any_of_two_and_and_is_all_of_two(a in branch(), b in branch(), c in branch()) {
        let maker = Maker::new(0.0);
        let one = |branch| maker.one(&branch);
        let flat = maker.many(&[a, b, c]);
        prop_assert_eq!(maker.ask(any(flat)), maker.ask(one(a).or(one(b)).or(one(c))));
        prop_assert_eq!(maker.ask(one(a).or(one(b))), maker.ask(one(b).or(one(a))));
        prop_assert_eq!(
            maker.ask(one(a).or(one(b)).or(one(c))),
            maker.ask(one(a).or(one(b).or(one(c))))
        );
        let flat = maker.many(&[a, b, c]);
        prop_assert_eq!(maker.ask(all(flat)), maker.ask(one(a).and(one(b)).and(one(c))));
        prop_assert_eq!(maker.ask(one(a).and(one(b))), maker.ask(one(b).and(one(a))));
        prop_assert_eq!(
            maker.ask(one(a).and(one(b)).and(one(c))),
            maker.ask(one(a).and(one(b).and(one(c))))
        );
    }

    #[test]
    fn a_combination_of_one_is_that_one(branch in branch()) {
        let maker = Maker::new(0.0);
        let alone = maker.ask(maker.one(&branch));
        for combine in BOTH {
            prop_assert_eq!(alone, maker.ask(combine(vec![maker.one(&branch)])));
        }
        let twice = || (maker.one(&branch), maker.one(&branch));
        let (a, b) = twice();
        prop_assert_eq!(alone, maker.ask(a.or(b)), "nor does it matter to say it twice");
        let (a, b) = twice();
        prop_assert_eq!(alone, maker.ask(a.and(b)));
    }

    #[test]
    fn every_branch_is_polled_once(branches in vec(branch(), 0..6)) {
        let maker = Maker::new(0.0);
        for combine in BOTH {
            let (_, wake, watches) = maker.ask(combine(maker.many(&branches)));
            prop_assert_eq!(maker.polls(), branches.len());
            let first = branches.iter().filter_map(|branch| branch.wake).min();
            let first = first.map(|ms| maker.now + Duration::from_millis(ms));
            prop_assert_eq!(wake, first, "the earliest time any branch asked for");
            prop_assert_eq!(watches, branches.iter().any(|branch| branch.watches));
        }
    }

    #[test]
    fn any_needs_one_and_all_needs_every_one(branches in vec(branch(), 0..6)) {
        let maker = Maker::new(0.0);
        let ready: Vec<bool> = branches.iter().map(|branch| branch.verdict.is_ready()).collect();
        let [any, all] = BOTH.map(|combine| maker.ask(combine(maker.many(&branches))).0);
        prop_assert_eq!(any.is_ready(), ready.contains(&true));
        prop_assert_eq!(all.is_ready(), !ready.is_empty() && !ready.contains(&false));
        for verdict in [any, all] {
            prop_assert!(verdict.is_pending() || branches.iter().any(|b| b.verdict == verdict));
        }
    }

    #[test]
    fn no_jitter_is_no_change(branches in vec(branch(), 0..4), draw in 0.0..1.0f64) {
        let maker = Maker::new(draw);
        for combine in BOTH {
            let plain = maker.ask(combine(maker.many(&branches)));
            prop_assert_eq!(plain, maker.ask(combine(maker.many(&branches)).jitter(0.0)));
        }
    }

    #[test]
    fn jitter_distributes_over_combinations(
        branches in vec(branch(), 0..4),
        draw in 0.0..1.0f64,
        fraction in 0.0..1.0f64,
    ) {
        let maker = Maker::new(draw);
        for combine in BOTH {
            let outside = maker.ask(combine(maker.many(&branches)).jitter(fraction));
            let inside = maker.many(&branches).into_iter().map(|one| boxed(one.jitter(fraction)));
            prop_assert_eq!(outside, maker.ask(combine(inside.collect())));
        }
    }
}

#[test]
fn of_nothing_there_is_no_end() {
    let maker = Maker::new(0.0);
    for combine in BOTH {
        assert_eq!(maker.ask(combine(Vec::new())), (Poll::Pending, None, false));
    }
}

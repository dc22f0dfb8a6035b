//! Real pools and a real budget, with messages that are late and overtake one another. Each pool is
//! compared with its ledger as ever.

use std::time::Duration;

use crate::common::ledger::Place;
use crate::common::{NEVER, Rig, exclusive, shared, with};
use millpond_pool_core::state::{Budget, BudgetEffect, Claim};
use millpond_pool_core::{BudgetLimits, Limits, MaxRequests, MemberId, Reason, Share};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit(usize),
    Cancel(usize, usize),
    Start(usize, usize),
    FailStart(usize, usize),
    Exhaust(usize, usize),
    Finish(usize, usize),
    Trap(usize, usize),
    Drop(usize, usize),
    Claim(usize),
    Effect(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let n = any::<usize>;
    let two = || (any::<usize>(), any::<usize>());
    prop_oneof![
        8 => n().prop_map(Submit),
        1 => two().prop_map(|(p, n)| Cancel(p, n)),
        8 => two().prop_map(|(p, n)| Start(p, n)),
        1 => two().prop_map(|(p, n)| FailStart(p, n)),
        2 => two().prop_map(|(p, n)| Exhaust(p, n)),
        8 => two().prop_map(|(p, n)| Finish(p, n)),
        1 => two().prop_map(|(p, n)| Trap(p, n)),
        6 => two().prop_map(|(p, n)| Drop(p, n)),
        12 => n().prop_map(Claim),
        12 => n().prop_map(Effect),
        2 => (0..300u64).prop_map(Pass),
    ]
}

fn member() -> impl Strategy<Value = (Limits, Share)> {
    let most = prop_oneof![Just(None), (1..4u64).prop_map(Some)];
    let limits = (1..5usize, 1..3usize, 0..3usize, most);
    let limits = limits.prop_map(|(instances, concurrency, min_idle, most)| {
        let limits = if concurrency == 1 { exclusive(instances) } else { shared(instances, 2) };
        with(limits, |limits| {
            (limits.queue_timeout, limits.request_timeout) = (NEVER, NEVER);
            (limits.start_timeout, limits.min_idle) = (NEVER, min_idle);
            limits.max_requests = most.map_or(MaxRequests::unlimited(), MaxRequests::exactly);
        })
    });
    (limits, 0..4u32, 0..2usize).prop_map(|(limits, weight, guaranteed)| {
        let mut share = Share::default();
        (share.weight, share.guaranteed) = (weight, guaranteed.min(limits.max_instances));
        (limits, share)
    })
}

struct Town {
    budget: Budget,
    ids: Vec<MemberId>,
    rigs: Vec<Rig>,
    claims: Vec<(usize, Claim)>,
    effects: Vec<(usize, BudgetEffect)>,
}

impl Town {
    /// With so many instances beyond what is guaranteed: one at least, so that there is something for
    /// those without a guarantee.
    fn new(most: usize, members: Vec<(Limits, Share)>) -> Self {
        let guaranteed: usize = members.iter().map(|(_, share)| share.guaranteed).sum();
        let mut budget = Budget::new(BudgetLimits::instances(guaranteed + most));
        let ids = members.iter().map(|(_, share)| budget.handle_join(*share).expect("room"));
        let ids = ids.collect();
        let rigs = members.into_iter().map(|(limits, _)| {
            let mut rig = Rig::new(limits).budgeted();
            rig.hold_verdicts = true;
            rig.look();
            rig
        });
        let rigs = rigs.collect();
        Self { budget, ids, rigs, claims: Vec::new(), effects: Vec::new() }
    }

    fn take(&mut self, step: Step) -> Option<()> {
        let pools = self.rigs.len();
        let choose = |from: Vec<u64>, n: usize| from.get(n % from.len().max(1)).copied();
        match step {
            Step::Submit(p) if self.rigs[p % pools].pool.permits_free() > 0 => {
                self.rigs[p % pools].submit();
            }
            Step::Submit(_) => {}
            Step::Cancel(p, n) => {
                let rig = &mut self.rigs[p % pools];
                let all = rig.ledger.requests.keys().copied().collect();
                rig.cancel(choose(all, n)?);
            }
            Step::Start(p, n) => {
                let rig = &mut self.rigs[p % pools];
                rig.started(choose(loading(rig), n)?);
            }
            Step::FailStart(p, n) => {
                let rig = &mut self.rigs[p % pools];
                rig.start_failed(choose(loading(rig), n)?);
            }
            Step::Exhaust(p, n) => {
                let rig = &mut self.rigs[p % pools];
                rig.exhausted(choose(loading(rig), n)?);
            }
            Step::Finish(p, n) => {
                let rig = &mut self.rigs[p % pools];
                finish(rig, choose(busy(rig), n)?);
            }
            Step::Trap(p, n) => {
                let rig = &mut self.rigs[p % pools];
                let all = rig.ledger.instances.keys().copied().collect();
                rig.broken(choose(all, n)?, Reason::Trap);
            }
            Step::Drop(p, n) => {
                let rig = &mut self.rigs[p % pools];
                rig.dropped(choose(retiring(rig), n)?);
            }
            Step::Claim(n) => self.deliver_claim(n),
            Step::Effect(n) => self.deliver_effect(n),
            Step::Pass(ms) => {
                for rig in &mut self.rigs {
                    rig.at(rig.elapsed() + Duration::from_millis(ms));
                }
            }
        }
        Some(())
    }

    fn deliver_claim(&mut self, n: usize) {
        if !self.claims.is_empty() {
            let (pool, claim) = self.claims.swap_remove(n % self.claims.len());
            self.budget.handle_claim(self.ids[pool], claim);
            while let Some(effect) = self.budget.poll_effect() {
                let member = effect.member();
                let to = self.ids.iter().position(|id| *id == member).expect("a member");
                self.effects.push((to, effect));
            }
        }
    }

    fn deliver_effect(&mut self, n: usize) {
        if !self.effects.is_empty() {
            let (pool, effect) = self.effects.swap_remove(n % self.effects.len());
            match effect {
                BudgetEffect::Grant { .. } => self.rigs[pool].grant(),
                BudgetEffect::Reclaim { .. } => self.rigs[pool].reclaim(),
                BudgetEffect::Room { .. } => self.rigs[pool].room(),
                other => panic!("unknown effect {other:?}"),
            }
        }
    }

    /// What pools have to say is on its way; no limit is exceeded.
    fn settle(&mut self) {
        for (pool, rig) in self.rigs.iter_mut().enumerate() {
            let account = rig.ledger.account.as_mut().expect("a pool with a budget");
            self.claims.extend(account.sent.drain(..).map(|claim| (pool, claim)));
        }
        let live: usize = self.rigs.iter().map(|rig| rig.ledger.instances.len()).sum();
        let most = self.budget.limits().max_instances;
        assert!(live <= self.budget.used(), "{live} live, and the budget counts fewer");
        assert!(self.budget.used() <= most, "{} of {most} are given out", self.budget.used());
    }

    /// All messages arrive, and those they cause.
    fn talk(&mut self) {
        for _ in 0..1000 {
            self.settle();
            self.deliver_claim(0);
            self.deliver_effect(0);
            self.settle();
            if self.claims.is_empty() && self.effects.is_empty() {
                return self.check_rest();
            }
        }
        panic!("budget and pools talk without end");
    }

    /// The budget knows what there is, and no pool waits for what it is guaranteed.
    fn check_rest(&self) {
        let snapshot = self.budget.snapshot();
        for (member, rig) in snapshot.members.iter().zip(&self.rigs) {
            assert_eq!(member.used, rig.ledger.instances.len(), "{snapshot:?}");
            let claim = rig.claim();
            assert_eq!((member.wanted, member.idle), (claim.wanted, claim.idle), "{snapshot:?}");
            let within = member.used < member.share.guaranteed;
            assert!(!(within && claim.wanted > 0), "{snapshot:?}");
        }
    }

    /// Everything ends that can.
    fn end(&mut self) {
        for _ in 0..500 {
            self.talk();
            if self.rigs.iter().all(|rig| rig.pool.load() == 0) {
                return;
            }
            for rig in &mut self.rigs {
                loading(rig).into_iter().for_each(|instance| rig.started(instance));
                let open = rig.ledger.instances.keys().copied().collect::<Vec<_>>();
                open.into_iter().for_each(|instance| rig.settled(instance));
                busy(rig).into_iter().for_each(|request| finish(rig, request));
                retiring(rig).into_iter().for_each(|instance| rig.dropped(instance));
                rig.at(rig.elapsed() + Duration::from_millis(20));
            }
        }
        let waiting: Vec<_> = self.rigs.iter().map(|rig| rig.pool.snapshot()).collect();
        panic!("requests wait for ever: {:?}, {waiting:?}", self.budget.snapshot());
    }
}

fn loading(rig: &Rig) -> Vec<u64> {
    let all = rig.ledger.instances.iter().filter(|(_, instance)| !instance.loaded);
    all.map(|(number, _)| *number).collect()
}

fn retiring(rig: &Rig) -> Vec<u64> {
    let all = rig.ledger.instances.iter().filter(|(_, instance)| instance.retiring);
    all.map(|(number, _)| *number).collect()
}

/// Requests that a guest works on.
fn busy(rig: &Rig) -> Vec<u64> {
    let on_loaded = |place: Place| match place {
        Place::Busy(on) | Place::Left { on, .. } => rig.ledger.instances[&on].loaded,
        _ => false,
    };
    let all = rig.ledger.requests.iter().filter(|(_, request)| on_loaded(request.place));
    all.map(|(number, _)| *number).collect()
}

/// A guest answers a request, and has nothing else to do with it.
fn finish(rig: &mut Rig, request: u64) {
    let on = rig.ledger.place(request).on().expect("a request on an instance");
    if rig.responded(request) {
        rig.ended(request);
    }
    rig.settled(on);
    rig.quiet(on);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pools_with_a_budget_serve_all_requests(
        most in 1..5usize,
        members in vec(member(), 2..4),
        steps in vec(step(), 0..150),
    ) {
        let mut town = Town::new(most, members);
        town.settle();
        for step in steps {
            town.take(step);
            town.settle();
        }
        town.end();
        for rig in &town.rigs {
            let end = rig.pool.snapshot();
            let outcomes = end.responded + end.failed + end.refused + end.cancelled;
            prop_assert_eq!(outcomes, end.submitted);
            prop_assert!(end.refused <= end.failed_starts, "only a failed start refuses here");
        }
    }
}

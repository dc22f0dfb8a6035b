//! Random lives of a budget, between fake pools. The model compares each effect with its own idea.

use millpond_pool_core::{BudgetLimits, Share};
use proptest::collection::vec;
use proptest::prelude::*;

use super::fake_pools::FakePools;

#[derive(Clone, Copy, Debug)]
enum Step {
    Want(usize, usize),
    /// Callers leave.
    Forget(usize),
    Finish(usize),
    /// An idle instance is used up.
    End(usize),
    Drop(usize),
    Spares(usize, usize),
    /// The allocator was full for one that is wanted.
    Starve(usize),
    Claim(usize),
    Effect(usize),
    Stale(usize),
    Limits(usize, usize),
    Share(usize, u32, usize),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let n = any::<usize>;
    prop_oneof![
        6 => (n(), 1..4usize).prop_map(|(n, many)| Want(n, many)),
        1 => n().prop_map(Forget),
        4 => n().prop_map(Finish),
        1 => n().prop_map(End),
        4 => n().prop_map(Drop),
        2 => (n(), 0..4usize).prop_map(|(n, many)| Spares(n, many)),
        2 => n().prop_map(Starve),
        10 => n().prop_map(Claim),
        10 => n().prop_map(Effect),
        2 => n().prop_map(Stale),
    ]
}

fn change() -> impl Strategy<Value = Step> {
    let n = any::<usize>;
    prop_oneof![
        12 => step(),
        1 => (0..12usize, 0..100usize).prop_map(|(most, memory)| Step::Limits(most, memory)),
        1 => (n(), 0..4u32, 0..4usize).prop_map(|(n, weight, own)| Step::Share(n, weight, own)),
    ]
}

fn share(memory: impl Strategy<Value = usize>) -> impl Strategy<Value = Share> {
    (0..4u32, 0..3usize, memory).prop_map(|(weight, guaranteed, memory)| {
        let mut share = Share::default();
        (share.weight, share.guaranteed, share.memory) = (weight, guaranteed, memory);
        share
    })
}

fn take(fakes: &mut FakePools, step: Step, memory: bool) {
    let pools = fakes.pools.len();
    match step {
        Step::Want(n, many) => fakes.change(n % pools, |pool| pool.want += many),
        Step::Forget(n) => fakes.change(n % pools, |pool| pool.want = pool.want.saturating_sub(1)),
        Step::Finish(n) if fakes.pools[n % pools].busy > 0 => fakes.change(n % pools, |pool| {
            (pool.busy, pool.idle) = (pool.busy - 1, pool.idle + 1);
        }),
        Step::End(n) if fakes.pools[n % pools].idle > 0 => fakes.change(n % pools, |pool| {
            (pool.idle, pool.leaving) = (pool.idle - 1, pool.leaving + 1);
        }),
        Step::Drop(n) if fakes.pools[n % pools].leaving > 0 => fakes.change(n % pools, |pool| {
            pool.leaving -= 1;
            pool.claim.released += 1;
        }),
        Step::Spares(n, many) => fakes.change(n % pools, |pool| pool.spares = many),
        Step::Starve(n) if fakes.pools[n % pools].want > 0 => fakes.change(n % pools, |pool| {
            (pool.want, pool.starved) = (pool.want - 1, pool.starved + 1);
        }),
        Step::Claim(n) => fakes.deliver_claim(n),
        Step::Effect(n) => fakes.deliver_effect(n),
        Step::Stale(n) => fakes.deliver_stale(n),
        Step::Limits(most, bytes) => {
            let limits = BudgetLimits::instances(most);
            fakes.limits(if memory { limits.memory(bytes) } else { limits });
        }
        Step::Share(n, weight, guaranteed) => {
            let mut share = fakes.budget.snapshot().members[n % pools].share;
            (share.weight, share.guaranteed) = (weight, guaranteed);
            fakes.share(n % pools, share);
        }
        Step::Finish(_) | Step::End(_) | Step::Drop(_) | Step::Starve(_) => {}
    }
}

fn live(limits: BudgetLimits, shares: &[Share], steps: &[Step]) {
    let memory = shares.iter().any(|share| share.memory > 0);
    let Some(mut fakes) = FakePools::new(limits, shares) else {
        let fits = |limit: usize, each: fn(&Share) -> usize| {
            shares.iter().map(|share| share.guaranteed * each(share)).sum::<usize>() <= limit
        };
        let fit =
            fits(limits.max_instances, |_| 1) && fits(limits.max_memory, |share| share.memory);
        assert!(!fit, "guarantees that fit were refused");
        return;
    };
    for step in steps {
        take(&mut fakes, *step, memory);
    }
    fakes.rest();
    fakes.model.check_rest();
    // All requests end: nothing is lost on the way.
    for _ in 0..1000 {
        let busy = (0..fakes.pools.len()).find(|pool| fakes.pools[*pool].busy > 0);
        let Some(pool) = busy else { break };
        fakes.change(pool, |pool| (pool.busy, pool.idle) = (pool.busy - 1, pool.idle + 1));
        fakes.rest();
        fakes.model.check_rest();
    }
    for (pool, id) in fakes.ids.iter().enumerate() {
        let members = fakes.budget.snapshot().members;
        let member = members.iter().find(|member| member.id == *id).expect("a member");
        assert_eq!(member.used, fakes.pools[pool].live(), "grants were lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_budget_of_instances_is_divided_fairly(
        most in 0..10usize,
        shares in vec(share(Just(0)), 1..5),
        steps in vec(step(), 0..120),
    ) {
        live(BudgetLimits::instances(most), &shares, &steps);
    }

    #[test]
    fn a_budget_of_memory_too_is_divided_fairly(
        most in 0..10usize,
        memory in 0..100usize,
        shares in vec(share(1..30usize), 1..5),
        steps in vec(step(), 0..120),
    ) {
        live(BudgetLimits::instances(most).memory(memory), &shares, &steps);
    }

    #[test]
    fn a_budget_that_changes_is_kept(
        most in 0..10usize,
        memory in 0..100usize,
        shares in prop_oneof![vec(share(Just(0)), 1..5), vec(share(1..30usize), 1..5)],
        steps in vec(change(), 0..120),
    ) {
        live(BudgetLimits::instances(most).memory(memory), &shares, &steps);
    }
}

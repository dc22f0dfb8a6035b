//! The budget between the pools, and the messages from and to it: late, and in another order.

use millpond_pool_core::state::{Budget, BudgetEffect, Claim};
use millpond_pool_core::{BudgetLimits, MemberId, Share};

use super::{Event, Happens, World, violation};
use crate::check::BudgetFairness;
use crate::record::Record;
use crate::scenario;

pub(super) struct BudgetSide {
    pub(super) budget: Budget,
    pub(super) fairness: BudgetFairness,
    pub(super) shares: Vec<Share>,
}

impl BudgetSide {
    pub(super) fn new(limits: BudgetLimits) -> Self {
        let fairness = BudgetFairness::new(limits);
        Self { budget: Budget::new(limits), fairness, shares: Vec::new() }
    }

    pub(super) fn join(&mut self, share: Share) -> MemberId {
        let member = self.budget.handle_join(share).expect("the budget is drawn for the shares");
        self.fairness.join(member, share);
        self.shares.push(share);
        member
    }
}

impl World {
    pub(super) fn claim(&mut self, pool: usize, claim: Claim) -> Happens {
        let Some(member) = self.sides[pool].member else { return Ok(()) };
        self.note_budget(pool, 1, format!("the budget hears {claim:?}"));
        let Some(side) = &mut self.budget else { return Ok(()) };
        side.budget.handle_claim(member, claim);
        let checked = side.fairness.claim(member, claim);
        checked.map_err(|what| violation(BudgetFairness::NAME, what))?;
        self.settle_budget()
    }

    /// What the budget sent arrives at the pool.
    pub(super) fn budget_effect(&mut self, pool: usize, effect: BudgetEffect) -> Happens {
        if self.sides[pool].member.is_none() {
            return Ok(());
        }
        match effect {
            BudgetEffect::Grant { .. } => {
                self.input(pool, |pool, now| (pool.handle_grant(now), Record::Grant))
            }
            BudgetEffect::Reclaim { .. } => {
                self.fault("reclaimed");
                self.input(pool, |pool, now| (pool.handle_reclaim(now), Record::Reclaim))
            }
            BudgetEffect::Room { .. } => {
                self.fault("room offered");
                self.input(pool, |pool, now| (pool.handle_room(now), Record::Room))
            }
            _ => Ok(()),
        }
    }

    /// Other limits; too small ones are refused.
    pub(super) fn budget_limits(&mut self, limits: BudgetLimits) -> Happens {
        self.note_budget(0, 2, format!("budget limits {limits:?}"));
        let Some(side) = &mut self.budget else { return Ok(()) };
        if side.budget.handle_limits(limits).is_ok() {
            side.fairness.limits(limits);
            self.fault("budget limits changed");
        } else {
            self.fault("budget limits refused");
        }
        self.settle_budget()
    }

    pub(super) fn draw_budget_limits(&mut self) -> Happens {
        let Some(side) = &self.budget else { return Ok(()) };
        let mut shares = side.shares.clone();
        if self.random.chance(200) {
            // Guaranteed more than there is.
            shares.clear();
        }
        let limits = scenario::draw_budget(&mut self.random, &shares);
        self.budget_limits(limits)
    }

    pub(super) fn draw_share(&mut self, pool: usize) -> Happens {
        let share = scenario::draw_share(&mut self.random);
        let Some(member) = self.sides[pool].member else { return Ok(()) };
        self.note_budget(pool, 3, format!("{share:?}"));
        let Some(side) = &mut self.budget else { return Ok(()) };
        if side.budget.handle_share(member, share).is_ok() {
            side.fairness.share(member, share);
            side.shares[pool] = share;
            self.fault("share changed");
        } else {
            self.fault("share refused");
        }
        self.settle_budget()
    }

    /// A pool that has drained takes part no more.
    pub(super) fn leave_budget(&mut self, pool: usize) -> Happens {
        let Some(member) = self.sides[pool].member.take() else { return Ok(()) };
        self.note_budget(pool, 4, "leaves the budget".into());
        let Some(side) = &mut self.budget else { return Ok(()) };
        side.budget.handle_leave(member);
        side.fairness.leave(member);
        side.shares[pool] = Share::default();
        self.fault("left the budget");
        self.settle_budget()
    }

    fn settle_budget(&mut self) -> Happens {
        let failed = |what| violation(BudgetFairness::NAME, what);
        while let Some(effect) = self.budget.as_mut().and_then(|side| side.budget.poll_effect()) {
            let Some(side) = &mut self.budget else { return Ok(()) };
            side.fairness.effect(effect).map_err(failed)?;
            let to = self.sides.iter().position(|side| side.member == Some(effect.member()));
            let Some(pool) = to else { continue };
            self.note_budget(pool, 5, format!("{effect:?}"));
            let wait = self.lateness();
            self.plan(wait, Event::Budget(pool, effect));
        }
        let Some(side) = &self.budget else { return Ok(()) };
        side.fairness.settled().map_err(failed)?;
        let (theirs, ours) = (side.budget.used(), side.fairness.cap());
        if theirs != ours {
            return Err(failed(format!("{ours} grants are out, the budget says {theirs}")));
        }
        Ok(())
    }

    fn note_budget(&mut self, pool: usize, word: u64, note: String) {
        self.trace.note(self.step, self.now, pool, word, note);
    }
}

//! Fake pools, which hold counts and nothing else, and messages that are late and overtake one
//! another on their way to a budget and back.

use millpond_pool_core::state::{Budget, BudgetEffect, Claim};
use millpond_pool_core::{BudgetLimits, MemberId, Share};

use super::model::Model;

/// A fake pool.
#[derive(Debug, Default)]
pub(super) struct FakePool {
    /// Requests that wait for an instance.
    pub(super) want: usize,
    /// The same, and the allocator was full for them.
    pub(super) starved: usize,
    /// Idle instances it keeps though no request wants them.
    pub(super) spares: usize,
    pub(super) busy: usize,
    pub(super) idle: usize,
    pub(super) leaving: usize,
    pub(super) claim: Claim,
}

impl FakePool {
    /// The newest claim.
    fn claim(&mut self) -> Claim {
        while self.want > 0 && self.idle > 0 {
            (self.want, self.idle, self.busy) = (self.want - 1, self.idle - 1, self.busy + 1);
        }
        self.claim.revision += 1;
        (self.claim.wanted, self.claim.starved) = (self.want, self.starved);
        self.claim.spares = self.spares.saturating_sub(self.idle);
        (self.claim.idle, self.claim.leaving) = (self.idle, self.leaving);
        self.claim
    }

    fn granted(&mut self) {
        self.claim.granted += 1;
        if self.want > 0 {
            (self.want, self.busy) = (self.want - 1, self.busy + 1);
        } else if self.idle < self.spares {
            self.idle += 1;
        } else {
            self.claim.released += 1;
        }
    }

    fn reclaimed(&mut self) {
        self.claim.reclaims += 1;
        self.spares = 0;
        if self.idle > 0 {
            (self.idle, self.leaving) = (self.idle - 1, self.leaving + 1);
        }
    }

    pub(super) fn live(&self) -> usize {
        self.busy + self.idle + self.leaving
    }
}

/// A budget, its pools, and what is on its way between them.
#[derive(Debug)]
pub(super) struct FakePools {
    pub(super) budget: Budget,
    pub(super) model: Model,
    pub(super) ids: Vec<MemberId>,
    pub(super) pools: Vec<FakePool>,
    claims: Vec<(usize, Claim)>,
    effects: Vec<(usize, BudgetEffect)>,
    /// Claims that were delivered.
    old: Vec<(usize, Claim)>,
}

impl FakePools {
    /// `None`: the guarantees do not fit.
    pub(super) fn new(limits: BudgetLimits, shares: &[Share]) -> Option<Self> {
        let mut budget = Budget::new(limits);
        let ids = shares.iter().map(|share| budget.handle_join(*share).ok());
        let ids: Vec<_> = ids.collect::<Option<_>>()?;
        let pools = shares.iter().map(|_| FakePool::default()).collect();
        let (claims, effects, old) = (Vec::new(), Vec::new(), Vec::new());
        let model = Model::new(limits, shares);
        Some(Self { budget, model, ids, pools, claims, effects, old })
    }

    /// Something happens in a pool, which tells the budget.
    pub(super) fn change(&mut self, pool: usize, change: impl FnOnce(&mut FakePool)) {
        change(&mut self.pools[pool]);
        self.claims.push((pool, self.pools[pool].claim()));
    }

    /// One of the claims on their way arrives.
    pub(super) fn deliver_claim(&mut self, n: usize) {
        if self.claims.is_empty() {
            return;
        }
        let (pool, claim) = self.claims.swap_remove(n % self.claims.len());
        self.old.push((pool, claim));
        self.model.claims(pool, claim);
        self.budget.handle_claim(self.ids[pool], claim);
        self.settle();
    }

    /// A claim that was delivered, or is older than one that was, arrives: it changes nothing.
    pub(super) fn deliver_stale(&mut self, n: usize) {
        if self.old.is_empty() {
            return;
        }
        let (pool, claim) = self.old[n % self.old.len()];
        let before = self.budget.snapshot();
        self.budget.handle_claim(self.ids[pool], claim);
        assert_eq!(self.budget.poll_effect(), None, "a stale claim counted");
        assert_eq!(self.budget.snapshot(), before, "a stale claim counted");
    }

    /// One of the budget's messages arrives.
    pub(super) fn deliver_effect(&mut self, n: usize) {
        if self.effects.is_empty() {
            return;
        }
        let (pool, effect) = self.effects.swap_remove(n % self.effects.len());
        self.change(pool, |pool| match effect {
            BudgetEffect::Grant { .. } => pool.granted(),
            BudgetEffect::Reclaim { .. } => pool.reclaimed(),
            BudgetEffect::Room { .. } if pool.starved > 0 => {
                pool.claim.rooms += 1;
                (pool.starved, pool.want) = (pool.starved - 1, pool.want + 1);
            }
            BudgetEffect::Room { .. } => pool.claim.rooms += 1,
            other => panic!("unknown effect {other:?}"),
        });
    }

    pub(super) fn limits(&mut self, limits: BudgetLimits) {
        if self.budget.handle_limits(limits).is_ok() {
            self.model.limits(limits);
            self.settle();
        }
    }

    pub(super) fn share(&mut self, pool: usize, share: Share) {
        let fits = self.budget.handle_share(self.ids[pool], share).is_ok();
        if fits {
            self.model.share(pool, share);
            self.settle();
        }
    }

    /// Everything arrives, and stores are dropped; requests that run run on.
    pub(super) fn rest(&mut self) {
        for _ in 0..10_000 {
            self.deliver_claim(0);
            self.deliver_effect(0);
            if self.claims.is_empty() && self.effects.is_empty() {
                let leaving = (0..self.pools.len()).find(|pool| self.pools[*pool].leaving > 0);
                let Some(pool) = leaving else { return };
                self.change(pool, |pool| {
                    pool.leaving -= 1;
                    pool.claim.released += 1;
                });
            }
        }
        panic!("budget and pools talk without end: {self:?}");
    }

    /// What the budget wants done is entered in the model and sent.
    fn settle(&mut self) {
        while let Some(effect) = self.budget.poll_effect() {
            let member = effect.member();
            let pool = self.ids.iter().position(|id| *id == member).expect("a member");
            match effect {
                BudgetEffect::Grant { .. } => self.model.saw_grant(pool),
                BudgetEffect::Reclaim { .. } => self.model.saw_reclaim(pool),
                BudgetEffect::Room { .. } => self.model.saw_room(pool),
                other => panic!("unknown effect {other:?}"),
            }
            self.effects.push((pool, effect));
        }
        self.model.check();
        let snapshot = self.budget.snapshot();
        for (pool, member) in snapshot.members.iter().enumerate() {
            assert_eq!(member.used, self.model.used(pool), "{snapshot:?}");
            assert_eq!(member.wanted, self.model.wanted(pool), "{snapshot:?}");
            assert!(self.pools[pool].live() <= member.used, "more live than counted");
        }
    }
}

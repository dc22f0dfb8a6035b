//! Budget fairness: no pool gets more than there is, a guarantee is kept free for its pool and given at
//! once, and what is reclaimed is idle and beyond a guarantee.

use std::collections::BTreeMap;

use millpond_pool_core::state::{BudgetEffect, Claim};
use millpond_pool_core::{BudgetLimits, MemberId, Reason, Share};

use super::{Check, Checked, hold};
use crate::agenda::Time;
use crate::model::Model;
use crate::record::Record;

/// What a pool makes of it: only what has nothing to do goes.
#[derive(Debug)]
pub(super) struct PoolFairness;

impl Check for PoolFairness {
    fn name(&self) -> &'static str {
        "budget-fairness"
    }

    fn record(&mut self, model: &Model, _: Time, record: &Record) -> Checked {
        if let Record::Retire(id, Reason::Pressure) = *record {
            let idle = model.instance(id).is_some_and(|instance| instance.is_quiet());
            hold!(idle, "{id} ends under pressure and is not idle");
        }
        Ok(())
    }
}

/// The budget, as its messages show it.
#[derive(Debug)]
pub(crate) struct BudgetFairness {
    limits: BudgetLimits,
    members: BTreeMap<MemberId, Member>,
    /// All guarantees can be met beside what is used: then they stay so, until a limit or a share is
    /// changed.
    solid: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    share: Share,
    claim: Claim,
    granted: u64,
    reclaims: u64,
}

impl Member {
    fn used(&self) -> usize {
        (self.granted - self.claim.released) as usize
    }

    fn wanted(&self) -> usize {
        self.claim.wanted.saturating_sub((self.granted - self.claim.granted) as usize)
    }

    /// Asked to give up an idle one, and has not answered.
    fn asked(&self) -> usize {
        (self.reclaims - self.claim.reclaims) as usize
    }
}

impl BudgetFairness {
    pub(crate) const NAME: &str = "budget-fairness";

    pub(crate) fn new(limits: BudgetLimits) -> Self {
        Self { limits, members: BTreeMap::new(), solid: true }
    }

    pub(crate) fn join(&mut self, member: MemberId, share: Share) {
        self.members.insert(member, Member { share, ..Member::default() });
        self.solid = self.is_met();
    }

    pub(crate) fn leave(&mut self, member: MemberId) {
        self.members.remove(&member);
        self.solid |= self.is_met();
    }

    pub(crate) fn share(&mut self, member: MemberId, share: Share) {
        if let Some(known) = self.members.get_mut(&member) {
            known.share = share;
        }
        self.solid = self.is_met();
    }

    pub(crate) fn limits(&mut self, limits: BudgetLimits) {
        self.limits = limits;
        self.solid = self.is_met();
    }

    pub(crate) fn claim(&mut self, member: MemberId, claim: Claim) -> Checked {
        let Some(known) = self.members.get_mut(&member) else { return Ok(()) };
        if claim.revision > known.claim.revision {
            let sane = claim.granted <= known.granted
                && claim.released <= claim.granted
                && claim.released >= known.claim.released
                && claim.reclaims <= known.reclaims;
            hold!(sane, "{claim:?} after {:?}", known.claim);
            known.claim = claim;
            self.solid |= self.is_met();
        }
        Ok(())
    }

    pub(crate) fn effect(&mut self, effect: BudgetEffect) -> Checked {
        match effect {
            BudgetEffect::Grant { member, .. } => {
                let Some(known) = self.members.get_mut(&member) else { return Ok(()) };
                known.granted += 1;
                let (used, bytes) = self.sum(Member::used);
                let (most, memory) = (self.limits.max_instances, self.limits.max_memory as u128);
                hold!(used <= most, "{used} instances are granted of at most {most}");
                hold!(bytes <= memory, "{bytes} bytes are granted of at most {memory}");
                let met = !self.solid || self.is_met();
                hold!(met, "a grant to {member:?} takes what is guaranteed to another");
            }
            BudgetEffect::Reclaim { member } => {
                let Some(known) = self.members.get_mut(&member) else { return Ok(()) };
                known.reclaims += 1;
                let (asked, idle) = (known.asked(), known.claim.idle);
                hold!(known.reclaims > 0 && asked >= 1, "nothing was asked");
                let left = known.used().saturating_sub(known.claim.leaving + asked.min(idle));
                let least = known.share.guaranteed;
                hold!(asked <= idle.max(1) && idle > 0, "{asked} are reclaimed, {idle} are idle");
                hold!(left >= least, "{left} are left to {member:?}, guaranteed {least}");
            }
            BudgetEffect::Room { .. } => {}
            _ => {}
        }
        Ok(())
    }

    /// The end of a step.
    pub(crate) fn settled(&self) -> Checked {
        let (used, bytes) = self.sum(Member::used);
        for (id, member) in &self.members {
            let each = member.share.memory as u128;
            let room =
                used < self.limits.max_instances && bytes + each <= self.limits.max_memory as u128;
            let waits = member.wanted() > 0 && member.used() < member.share.guaranteed;
            let told = if self.solid { "its guarantee is free" } else { "there is room" };
            hold!(!waits || !(self.solid || room), "{id:?} waits for an instance, and {told}");
        }
        Ok(())
    }

    /// What may be live in all pools together.
    pub(crate) fn cap(&self) -> usize {
        self.sum(Member::used).0
    }

    fn is_met(&self) -> bool {
        let (used, bytes) = self.sum(|member| member.used().max(member.share.guaranteed));
        used <= self.limits.max_instances && bytes <= self.limits.max_memory as u128
    }

    fn sum(&self, count: impl Fn(&Member) -> usize) -> (usize, u128) {
        self.members.values().fold((0, 0), |(instances, bytes), member| {
            let counted = count(member);
            (instances + counted, bytes + counted as u128 * member.share.memory as u128)
        })
    }
}

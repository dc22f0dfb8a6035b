//! One limit on live instances, and on their memory, for several pools.
//!
//! Pools and budget tell each other things asynchronously, each behind a lock of its own, in messages
//! that may overtake one another. So a pool's message, the [`Claim`], always says everything: what it
//! wants, what it could give up, and in running totals what it has received and given back. Only the
//! newest counts, by its revision. What the budget sent and the pool had not yet seen when it wrote
//! the claim is the difference of the totals.

mod amount;
mod claim;
mod error;
mod member;
mod snapshot;

use std::collections::VecDeque;
use std::ops::{Add as _, Sub as _};

use crate::arena::{Arena, Key};

pub use claim::Claim;
pub use error::BudgetError;
pub use member::Share;
pub use snapshot::{BudgetSnapshot, MemberSnapshot};

use amount::Amount;
use member::Member;

/// What all pools of a budget may have together.
///
/// ```
/// let limits = millpond_pool_core::BudgetLimits::instances(8);
/// assert_eq!(limits.max_memory, usize::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetLimits {
    /// Live instances, counted from their start until their store is dropped.
    pub max_instances: usize,
    /// Bytes of memory: each instance counts as its pool's [`Share::memory`].
    pub max_memory: usize,
}

impl BudgetLimits {
    /// So many instances, of any size.
    pub const fn instances(max_instances: usize) -> Self {
        Self { max_instances, max_memory: usize::MAX }
    }

    /// Bytes that the instances may have together.
    #[must_use]
    pub const fn memory(mut self, max_memory: usize) -> Self {
        self.max_memory = max_memory;
        self
    }
}

/// Names a pool within its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Key);

/// What the budget wants done. Delivered to the pool it is about, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetEffect {
    /// The pool may start one instance: [`Pool::handle_grant`](crate::state::Pool::handle_grant).
    Grant {
        /// Which pool.
        member: MemberId,
        /// How often the limits had been changed when it was given.
        epoch: u64,
    },
    /// The pool is to end the idle instance that is worth least to it, if it still has one:
    /// [`Pool::handle_reclaim`](crate::state::Pool::handle_reclaim).
    Reclaim {
        /// Which pool.
        member: MemberId,
    },
    /// Somewhere a store was dropped; the allocator may have room for the pool, which found it full:
    /// [`Pool::handle_room`](crate::state::Pool::handle_room).
    Room {
        /// Which pool.
        member: MemberId,
    },
}

impl BudgetEffect {
    /// Which pool it is about.
    pub fn member(self) -> MemberId {
        match self {
            Self::Grant { member, .. } | Self::Reclaim { member } | Self::Room { member } => member,
        }
    }
}

/// The state machine of a budget. No lock, waker or clock inside.
///
/// A pool within its guarantee gets an instance at once, whatever the others do: the unused part of
/// each guarantee is kept free. The rest goes to any pool that wants it. When it is short, it goes to
/// the pool that has least for its weight. When none is left, the pool that has most for its weight
/// gives up an idle instance.
///
/// ```
/// use millpond_pool_core::state::{Budget, BudgetEffect, Claim};
/// use millpond_pool_core::{BudgetLimits, Share};
///
/// let mut budget = Budget::new(BudgetLimits::instances(2));
/// let pool = budget.handle_join(Share::default()).unwrap();
///
/// let mut claim = Claim::default();
/// (claim.revision, claim.wanted) = (1, 3);
/// budget.handle_claim(pool, claim);
/// // Two of the three.
/// assert!(matches!(budget.poll_effect(), Some(BudgetEffect::Grant { .. })));
/// assert!(matches!(budget.poll_effect(), Some(BudgetEffect::Grant { .. })));
/// assert_eq!(budget.poll_effect(), None);
/// ```
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    epoch: u64,
    members: Arena<Member>,
    effects: VecDeque<BudgetEffect>,
}

impl Budget {
    /// A budget without pools.
    pub fn new(limits: BudgetLimits) -> Self {
        Self { limits, epoch: 0, members: Arena::new(), effects: VecDeque::new() }
    }

    /// A pool takes part.
    ///
    /// # Errors
    ///
    /// If the guarantees of all pools together are more than there is.
    pub fn handle_join(&mut self, share: Share) -> Result<MemberId, BudgetError> {
        self.check(self.limits, None, share)?;
        Ok(MemberId(self.members.insert(Member::new(share))))
    }

    /// A pool takes part no more, and all its instances are gone.
    pub fn handle_leave(&mut self, member: MemberId) {
        self.members.remove(member.0);
        self.offer_room(None);
        self.balance();
    }

    /// Another share for a pool. Takes back nothing that runs.
    ///
    /// # Errors
    ///
    /// If the guarantees of all pools together are more than there is.
    pub fn handle_share(&mut self, member: MemberId, share: Share) -> Result<(), BudgetError> {
        self.check(self.limits, Some(member), share)?;
        if let Some(known) = self.members.get_mut(member.0) {
            known.share = share;
        }
        self.balance();
        Ok(())
    }

    /// Other limits. Takes back nothing that runs: after a lowering, idle instances are reclaimed,
    /// and nothing is granted until there is room again.
    ///
    /// # Errors
    ///
    /// If the guarantees of all pools together are more than that.
    pub fn handle_limits(&mut self, limits: BudgetLimits) -> Result<(), BudgetError> {
        self.check_sum(limits, Amount::default())?;
        self.limits = limits;
        self.epoch += 1;
        self.balance();
        Ok(())
    }

    /// What a pool holds and wants. An older one than the newest is ignored.
    pub fn handle_claim(&mut self, member: MemberId, claim: Claim) {
        let Some(known) = self.members.get_mut(member.0) else { return };
        if claim.revision <= known.claim.revision {
            return;
        }
        let dropped = claim.dropped > known.claim.dropped;
        known.claim = claim;
        if dropped {
            self.offer_room(Some(member));
        }
        self.balance();
    }

    /// What to do next, if anything.
    pub fn poll_effect(&mut self) -> Option<BudgetEffect> {
        self.effects.pop_front()
    }

    /// The limits in force.
    pub fn limits(&self) -> BudgetLimits {
        self.limits
    }

    /// Live instances of all pools, those that were granted and have not yet begun to start included.
    pub fn used(&self) -> usize {
        self.members.iter().map(|(_, member)| member.used()).sum()
    }

    /// How it is divided.
    pub fn snapshot(&self) -> BudgetSnapshot {
        let members = self.members.iter();
        let members = members.map(|(key, member)| member.snapshot(MemberId(key))).collect();
        BudgetSnapshot { limits: self.limits, epoch: self.epoch, members }
    }

    /// Gives out what there is, then asks for what is missing.
    fn balance(&mut self) {
        while let Some(member) = self.next_to_grant(Member::wanted) {
            self.grant(member);
        }
        // Spares take what no request wants, or what their pool is guaranteed.
        while let Some(member) = self.next_to_grant(Member::wanted_spares) {
            self.grant(member);
        }
        self.reclaim();
    }

    /// Of those who want one and for whom there is one: who has least for its weight.
    fn next_to_grant(&self, wants: impl Fn(&Member) -> usize) -> Option<MemberId> {
        let free = self.free();
        let wanting = self.members.iter().filter(|(_, member)| wants(member) > 0);
        let able = wanting.filter(|(key, member)| self.fits(free, *key, member.used()));
        able.min_by(|(_, a), (_, b)| a.cmp_load(b)).map(|(key, _)| MemberId(key))
    }

    fn grant(&mut self, member: MemberId) {
        let Some(known) = self.members.get_mut(member.0) else { return };
        known.granted += 1;
        self.effects.push_back(BudgetEffect::Grant { member, epoch: self.epoch });
    }

    /// Asks for idle instances: as many as requests wait for, less those on their way out already.
    fn reclaim(&mut self) {
        let mut there = self.free();
        let hungry = |(_, member): (Key, &Member)| member.wanted() > 0 || member.starved() > 0;
        if !there.is_negative() && !self.members.iter().any(hungry) {
            return;
        }
        for (_, member) in self.members.iter() {
            there = there + Amount::of(member.helpful(), &member.share);
        }
        while there.is_negative() && self.ask(None, &mut there) {}
        let mut hungry: Vec<_> = self.members.iter().filter(|entry| hungry(*entry)).collect();
        hungry.sort_by(|(_, a), (_, b)| a.cmp_load(b));
        let hungry: Vec<_> = hungry.into_iter().map(|(key, _)| key).collect();
        for key in hungry {
            self.reclaim_for(key, &mut there);
        }
    }

    /// `there` is what will be there once all have left that are leaving.
    fn reclaim_for(&mut self, key: Key, there: &mut Amount) {
        let Some(member) = self.members.get(key) else { return };
        let (share, starved) = (member.share, member.starved());
        let (used, wanted) = (member.used(), member.wanted());
        for used in used..used + wanted {
            while !self.fits(*there, key, used) {
                if !self.ask(Some(key), there) {
                    return;
                }
            }
            *there = *there - Amount::of(1, &share);
        }
        // The allocator is full for it, though the budget is not: others may hold what it needs. What
        // is leaving anyway, its own included, makes room too.
        let leaving: usize = self.members.iter().map(|(_, member)| member.leaving()).sum();
        for _ in leaving..starved {
            if !self.ask(Some(key), there) {
                return;
            }
        }
    }

    /// Asks for an idle instance: of the pools that have one beyond their guarantee, asks the one that
    /// has most for its weight. Returns false if no pool has one.
    fn ask(&mut self, besides: Option<Key>, there: &mut Amount) -> bool {
        let others = self.members.iter().filter(|(key, _)| Some(*key) != besides);
        let able = others.filter(|(_, member)| member.idle() > 0 && member.spread() > 0);
        let victim = able.max_by(|(_, a), (_, b)| a.cmp_load(b)).map(|(key, _)| key);
        let Some(key) = victim else { return false };
        let Some(victim) = self.members.get_mut(key) else { return false };
        victim.reclaims += 1;
        *there = *there + Amount::of(1, &victim.share);
        self.effects.push_back(BudgetEffect::Reclaim { member: MemberId(key) });
        true
    }

    fn free(&self) -> Amount {
        let used = self.members.iter();
        let used = used.map(|(_, member)| Amount::of(member.used(), &member.share));
        used.fold(self.limits.into(), Amount::sub)
    }

    /// Whether `there` holds one more for this pool when it uses so many, beside what is kept for the
    /// guarantees of the others.
    fn fits(&self, there: Amount, key: Key, used: usize) -> bool {
        let Some(member) = self.members.get(key) else { return false };
        let kept = if used < member.share.guaranteed {
            Amount::default()
        } else {
            let others = self.members.iter().filter(|(other, _)| *other != key);
            let kept = others.map(|(_, other)| Amount::of(other.unused(), &other.share));
            kept.fold(Amount::default(), Amount::add)
        };
        !(there - kept - Amount::of(1, &member.share)).is_negative()
    }

    /// A store was dropped: of those who found the allocator full, who has least for its weight?
    fn offer_room(&mut self, by: Option<MemberId>) {
        let others = self.members.iter().filter(|(key, _)| by.is_none_or(|by| by.0 != *key));
        let starved = others.filter(|(_, member)| member.starved() > 0);
        let first = starved.min_by(|(_, a), (_, b)| a.cmp_load(b)).map(|(key, _)| key);
        if let Some(key) = first
            && let Some(member) = self.members.get_mut(key)
        {
            member.rooms += 1;
            self.effects.push_back(BudgetEffect::Room { member: MemberId(key) });
        }
    }

    fn check(
        &self,
        limits: BudgetLimits,
        instead: Option<MemberId>,
        share: Share,
    ) -> Result<(), BudgetError> {
        let old = instead.and_then(|member| self.members.get(member.0));
        let old = old.map_or(Amount::default(), |member| guarantee(&member.share));
        self.check_sum(limits, guarantee(&share) - old)
    }

    fn check_sum(&self, limits: BudgetLimits, more: Amount) -> Result<(), BudgetError> {
        let members = self.members.iter().map(|(_, member)| guarantee(&member.share));
        let guaranteed = members.fold(more, Amount::add);
        if (Amount::from(limits) - guaranteed).is_negative() {
            return Err(BudgetError { guaranteed, limits });
        }
        Ok(())
    }
}

fn guarantee(share: &Share) -> Amount {
    Amount::of(share.guaranteed, share)
}

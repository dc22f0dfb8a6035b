//! A pool, as its budget keeps it.

use std::cmp::Ordering;

use super::{Claim, MemberId, MemberSnapshot};

/// A pool's part in a budget.
///
/// ```
/// use millpond_pool_core::Share;
///
/// let mut share = Share::default();
/// (share.weight, share.guaranteed) = (2, 4); // twice as much as others, and never less than four
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// How much of what is short it gets, in relation to the others; 0 is taken as 1. Default 1.
    pub weight: u32,
    /// Instances it can always have. Default 0.
    pub guaranteed: usize,
    /// Bytes that each of its instances counts as. Default 0.
    pub memory: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, guaranteed: 0, memory: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) share: Share,
    /// The newest.
    pub(super) claim: Claim,
    /// Grants given so far.
    pub(super) granted: u64,
    /// Idle instances asked for so far.
    pub(super) reclaims: u64,
    /// News of room given so far.
    pub(super) rooms: u64,
}

impl Member {
    pub(super) fn new(share: Share) -> Self {
        Self { share, claim: Claim::default(), granted: 0, reclaims: 0, rooms: 0 }
    }

    /// Instances that count against the budget.
    pub(super) fn used(&self) -> usize {
        count(self.granted - self.claim.released)
    }

    /// Grants that the newest claim knows nothing of.
    fn on_the_way(&self) -> usize {
        count(self.granted - self.claim.granted)
    }

    pub(super) fn wanted(&self) -> usize {
        self.claim.wanted.saturating_sub(self.on_the_way())
    }

    pub(super) fn wanted_spares(&self) -> usize {
        let both = self.claim.wanted + self.claim.spares;
        both.saturating_sub(self.on_the_way()).min(self.claim.spares)
    }

    /// Instances that the allocator was full for, less those that have been told of room.
    pub(super) fn starved(&self) -> usize {
        self.claim.starved.saturating_sub(count(self.rooms - self.claim.rooms))
    }

    /// Idle instances that have not yet been asked for.
    pub(super) fn idle(&self) -> usize {
        self.claim.idle.saturating_sub(self.asked())
    }

    /// Requests to give one up that the newest claim knows nothing of.
    fn asked(&self) -> usize {
        count(self.reclaims - self.claim.reclaims).min(self.claim.idle)
    }

    /// Instances on their way out.
    pub(super) fn leaving(&self) -> usize {
        self.claim.leaving + self.asked()
    }

    /// How many it has beyond its guarantee, once all have left that are leaving.
    pub(super) fn spread(&self) -> usize {
        self.used().saturating_sub(self.leaving()).saturating_sub(self.share.guaranteed)
    }

    /// How many of those that are leaving leave something for the others: below its guarantee, what
    /// it gives up is kept for itself.
    pub(super) fn helpful(&self) -> usize {
        self.leaving().min(self.used().saturating_sub(self.share.guaranteed))
    }

    /// What of its guarantee it does not use.
    pub(super) fn unused(&self) -> usize {
        self.share.guaranteed.saturating_sub(self.used())
    }

    /// Who has more for its weight.
    pub(super) fn cmp_load(&self, other: &Self) -> Ordering {
        let weigh = |member: &Self| u64::from(member.share.weight.max(1));
        let load = |a: &Self, b: &Self| (a.used() as u128) * u128::from(weigh(b));
        load(self, other).cmp(&load(other, self))
    }

    pub(super) fn snapshot(&self, id: MemberId) -> MemberSnapshot {
        MemberSnapshot {
            id,
            share: self.share,
            used: self.used(),
            wanted: self.wanted(),
            idle: self.idle(),
            reclaimed: self.reclaims,
        }
    }
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

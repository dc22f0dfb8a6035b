//! A budget's division, at one moment.

use super::{BudgetLimits, MemberId, Share};

/// How a budget is divided, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetSnapshot {
    /// The limits in force.
    pub limits: BudgetLimits,
    /// How often they have been changed.
    pub epoch: u64,
    /// The pools.
    pub members: Vec<MemberSnapshot>,
}

impl BudgetSnapshot {
    /// Instances that count against the budget.
    pub fn used(&self) -> usize {
        self.members.iter().map(|member| member.used).sum()
    }
}

/// One pool's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberSnapshot {
    /// Which pool.
    pub id: MemberId,
    /// What it may have.
    pub share: Share,
    /// Instances that count.
    pub used: usize,
    /// Instances it waits for.
    pub wanted: usize,
    /// Instances it could give up.
    pub idle: usize,
    /// Idle instances it was asked to give up so far.
    pub reclaimed: u64,
}

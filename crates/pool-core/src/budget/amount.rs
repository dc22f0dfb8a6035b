//! What a budget divides.

use std::ops::{Add, Sub};

use super::{BudgetLimits, Share};

/// Instances, and what they count as in bytes. Signed: after a lowering there is less than nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amount {
    pub(super) instances: i128,
    pub(super) memory: i128,
}

impl Amount {
    /// So many instances of this pool.
    pub(super) fn of(instances: usize, share: &Share) -> Self {
        let (instances, each) = (instances as i128, share.memory as i128);
        Self { instances, memory: instances.saturating_mul(each) }
    }

    pub(super) fn is_negative(self) -> bool {
        self.instances < 0 || self.memory < 0
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let instances = self.instances + other.instances;
        Self { instances, memory: self.memory + other.memory }
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let instances = self.instances - other.instances;
        Self { instances, memory: self.memory - other.memory }
    }
}

impl From<BudgetLimits> for Amount {
    fn from(limits: BudgetLimits) -> Self {
        Self { instances: limits.max_instances as i128, memory: limits.max_memory as i128 }
    }
}

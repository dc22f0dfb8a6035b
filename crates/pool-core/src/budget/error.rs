//! What a budget refuses.

use std::fmt;

use super::BudgetLimits;
use super::amount::Amount;

/// The guarantees of a budget's pools are more than there is.
#[derive(Debug, Clone)]
pub struct BudgetError {
    pub(super) guaranteed: Amount,
    pub(super) limits: BudgetLimits,
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guaranteed, limits } = self;
        if guaranteed.instances > limits.max_instances as i128 {
            let (sum, most) = (guaranteed.instances, limits.max_instances);
            write!(f, "the pools are guaranteed {sum} instances, and the budget has {most}")
        } else {
            let (sum, most) = (guaranteed.memory, limits.max_memory);
            write!(f, "the pools are guaranteed {sum} bytes of memory, and the budget has {most}")
        }
    }
}

impl std::error::Error for BudgetError {}

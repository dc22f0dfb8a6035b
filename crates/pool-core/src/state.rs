//! The state machines themselves, for a layer of one's own in place of [`PoolHandle`](crate::PoolHandle) and
//! [`SharedBudget`](crate::SharedBudget): a simulator, a fuzzer, or another runtime's.
//!
//! Both are driven alike: tell them what happens with `handle_*`, then carry out what `poll_effect` gives.

pub use crate::budget::{Budget, BudgetEffect, Claim};
pub use crate::effect::{Effect, Permit};
pub use crate::pool::Pool;

//! What the pool knows of itself in numbers: for its budget, its own decisions, and its policies.

pub(super) mod account;
pub(super) mod gauge;
mod load;
mod snapshot;

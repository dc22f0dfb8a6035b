//! Instances of a guest: when they start, whom they serve, what they hold, and how they end.

mod drain;
mod limits;
mod memory;
mod pinning;
mod reload;
mod starts;
mod timeouts;
mod traps;

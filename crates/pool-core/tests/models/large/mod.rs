//! Models too large for loom: several callers at once, each with several requests.
//!
//! What holds in all of them: every request has exactly one outcome, and the counters agree with
//! the callers about it; the gauges add up at every moment; after a drain all of them are 0; and
//! every thread comes to an end, so no wake-up is lost.

mod breaks;
mod budgets;
mod callers;
mod deadlines;
mod drains;
mod handles;
mod permits;
mod spares;
mod swaps;

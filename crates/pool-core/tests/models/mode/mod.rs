//! What the models run under, behind one set of names: threads, waiting, and the synchronisation
//! that is a step of the model. `Arc`, `Ordering` and whatever is no step come from the standard
//! library.
//!
//! `explore` runs a model that is short enough for all its interleavings, `explore_bounded` and `explore_within` one
//! that loom can only run with few preemptions, `explore_large` one that loom cannot run at all.
//! Every model ends: a wake-up that is lost is a failure in each mode.

#[cfg(loom)]
mod exhaustive;
#[cfg(shuttle)]
mod random;
#[cfg(not(any(loom, shuttle)))]
mod real;

#[cfg(loom)]
pub(crate) use exhaustive::*;
#[cfg(shuttle)]
pub(crate) use random::*;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use real::*;

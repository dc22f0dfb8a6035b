//! The pools' state machines in a simulated world: random, seeded, in virtual time.
//!
//! A run is many short *lives*, each drawn from a seed of its own: some pools, a budget or none, guests
//! and callers of some manners, faults of all kinds. What goes into the real [`Pool`] and [`Budget`] and
//! what comes out is shown to checkers, one for each invariant. The same seed gives the same run, to
//! the last bit of its trace's hash; a life that fails can be replayed alone.
//!
//! [`Pool`]: millpond_pool_core::state::Pool
//! [`Budget`]: millpond_pool_core::state::Budget

mod agenda;
mod check;
mod duration;
mod item;
mod model;
mod policy;
mod random;
mod record;
mod run;
mod scenario;
mod tally;
mod trace;
mod world;

pub use run::{Failure, Run, Summary};
pub use tally::Tally;

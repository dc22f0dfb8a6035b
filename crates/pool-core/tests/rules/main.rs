//! The rules of the state machine, in virtual time: each test moves the clock by hand and reads the
//! effects as lines of a log. One binary, so that a change is tested after one link.

mod budget;
mod builtin;
mod cancel;
mod common;
mod counters;
mod drain;
mod draws;
mod errors;
mod exhaustion;
mod expiration;
mod failures;
mod histograms;
mod instances;
mod jitter;
mod late;
mod laws;
mod leases;
mod limits;
mod load;
mod model;
mod permits;
mod pins;
mod policies;
mod queue;
mod shown;
mod signal;
mod spares;
mod steady;
mod streams;
mod timeouts;
mod usage;

//! The rules of the state machine, in virtual time: each test moves the clock by hand and reads the
//! effects as lines of a log. One binary, so that a change is tested after one link.

mod builtin;
mod cancel;
mod common;
mod drain;
mod expiration;
mod failures;
mod instances;
mod late;
mod model;
mod permits;
mod policies;
mod queue;
mod timeouts;

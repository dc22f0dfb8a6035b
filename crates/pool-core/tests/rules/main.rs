//! The rules of the state machine, in virtual time: each test moves the clock by hand and reads the
//! effects as lines of a log. One binary, so that a change is tested after one link.

mod budget;
mod common;
mod counters;
mod debug;
mod expiration;
mod histograms;
mod instances;
mod model;
mod requests;

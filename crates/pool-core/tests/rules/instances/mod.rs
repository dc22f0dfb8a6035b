//! Instances: when one is started, and when it goes.

mod choice;
mod drain;
mod exhaustion;
mod failures;
mod limits;
mod random;
mod spares;

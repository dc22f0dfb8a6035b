//! Expiration policies: on their own, put together, and at work in a pool.

mod at_work;
mod builtin;
mod combinators;
mod jitter;
mod load;
mod policies;
mod signal;
mod steady;
mod usage;

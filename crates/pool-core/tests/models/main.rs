//! The asynchronous layer against concurrency: models, each of which runs in three ways.
//!
//! - `cargo test -p millpond-pool-core --test models`: real threads, a few times. Finds what is
//!   plainly wrong.
//! - `RUSTFLAGS="--cfg loom" cargo test -p millpond-pool-core --test models --release`: loom, in
//!   every interleaving that matters. Models that are short enough run in all, the others in all
//!   with a few preemptions. `LOOM_MAX_PREEMPTIONS` overrides every bound.
//! - `RUSTFLAGS="--cfg shuttle" cargo test -p millpond-pool-core --test models --release`: shuttle,
//!   under many random schedules. That also reaches the models in `large`, which are too large
//!   for loom. `mode/random.rs` says how to see a failure again.
//!
//! What a model may use is in `mode`.

mod budget;
mod cell;
mod clock;
mod deadlines;
mod effects;
mod host;
#[cfg(not(loom))]
mod large;
mod leases;
mod mode;
mod permits;
mod policies;
mod requests;
mod signals;
mod spares;

//! The asynchronous layer under every interleaving that matters: models for loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p millpond-pool-core --test loom --release`
//!
//! Models that are short enough run in all interleavings, the others in all with a few
//! preemptions. `LOOM_MAX_PREEMPTIONS` overrides every bound.

#![cfg(loom)]

mod deadlines;
mod host;
mod permits;
mod policies;
mod requests;

/// Runs a model in all its interleavings.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    loom::model::Builder::new().check(model);
}

/// Runs a model in all its interleavings with up to four preemptions: switches from a thread
/// that could have gone on. A thread that waits is switched from for free.
fn explore_bounded(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(4);
    builder.check(model);
}

//! loom: all interleavings.

pub(crate) use loom::future::block_on;
pub(crate) use loom::sync::{Mutex, atomic::AtomicU64};
pub(crate) use loom::thread;

/// Runs a model in all its interleavings.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    loom::model::Builder::new().check(model);
}

/// Runs a model in all its interleavings with up to four preemptions: switches from a thread
/// that could have gone on. A thread that waits is switched from for free.
pub(crate) fn explore_bounded(model: impl Fn() + Send + Sync + 'static) {
    explore_within(4, model);
}

/// The same with up to so many preemptions.
pub(crate) fn explore_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(model);
}

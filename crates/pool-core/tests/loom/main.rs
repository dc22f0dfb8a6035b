//! The asynchronous layer under every interleaving that matters: models for loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p millpond-pool-core --test loom --release`
//!
//! Most models bound the number of preemptions, see [`explore`]: a policy is polled under a lock
//! of its own after every change, which makes even small histories long. `LOOM_MAX_PREEMPTIONS`
//! overrides all bounds.

#![cfg(loom)]

mod deadlines;
mod host;
mod permits;
mod policies;
mod requests;

/// Runs a model under all interleavings with at most this many preemptions: switches from a
/// thread that could have gone on. A thread that waits is switched from for free.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let c = count.clone();
    builder.check(move || {
        c.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        model()
    });
    eprintln!("ITER {}", count.load(std::sync::atomic::Ordering::SeqCst));
}

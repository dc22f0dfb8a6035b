//! Guests are interrupted at each tick, so that one that computes without end can be stopped and lets
//! the others on its thread run.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak, Store, StoreContextMut, UpdateDeadline};

use crate::sync::lock;

/// How often guests are interrupted.
pub const TICK: Duration = Duration::from_millis(1);

/// Moves the engine's epoch on, in a thread that ends with the engine. One for each engine: several
/// pools may share one. Gives what counts them.
pub fn tick(engine: &Engine) -> Arc<AtomicU64> {
    static TICKING: Mutex<Vec<(EngineWeak, Arc<AtomicU64>)>> = Mutex::new(Vec::new());
    let mut ticking = lock(&TICKING);
    ticking.retain(|(other, _)| other.upgrade().is_some());
    let is_this = |other: &EngineWeak| other.upgrade().is_some_and(|o| Engine::same(&o, engine));
    if let Some((_, ticks)) = ticking.iter().find(|(other, _)| is_this(other)) {
        return Arc::clone(ticks);
    }
    let ticks = Arc::new(AtomicU64::new(0));
    ticking.push((engine.weak(), Arc::clone(&ticks)));
    drop(ticking);
    let (engine, counted) = (engine.weak(), Arc::clone(&ticks));
    let ticker = std::thread::Builder::new().name("millpond-epoch".to_owned());
    let spawned = ticker.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            counted.fetch_add(1, Ordering::Relaxed);
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "guests that compute without end cannot be stopped");
    }
    ticks
}

/// From here on, the store's guest gives way at each tick. When that happens, `interrupted` is called;
/// what it gives is waited for before the guest goes on.
pub fn begin_ticks<T, F>(
    store: &mut Store<T>,
    mut interrupted: impl FnMut(&StoreContextMut<'_, T>) -> F + Send + Sync + 'static,
) where
    T: 'static,
    F: Future<Output = ()> + Send + 'static,
{
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |store| {
        let resumed = interrupted(&store);
        // Not wasmtime's own yield: that one wakes into tokio's LIFO slot, and the others on
        // this thread starve (wasmtime #10667).
        let others = async move {
            // First to other threads, of this process or another, that wait for the processor: the
            // kernel would let them wait for several ticks.
            std::thread::yield_now();
            tokio::task::yield_now().await;
            resumed.await;
        };
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(others)))
    });
}

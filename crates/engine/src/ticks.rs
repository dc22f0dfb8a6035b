//! Guests are interrupted at each tick, so that one that computes without end can be stopped and lets
//! the others on its thread run.
//!
//! There are ticks only while a guest is being driven: a process with nothing to do does not wake up.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak, Store, StoreContextMut, UpdateDeadline};

use crate::sync::lock;

/// How often guests are interrupted.
pub const TICK: Duration = Duration::from_millis(1);

/// Ticks that still come when no guest is driven any more: under load, it is seldom for long, and to
/// wake a thread costs more than to count.
const LINGER: u32 = 10;

/// The ticks of an engine, until the last of these is dropped. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ticks(Arc<Handle>);

/// Ends the thread when dropped.
#[derive(Debug)]
struct Handle(Arc<Ticker>);

#[derive(Debug, Default)]
struct Ticker {
    /// Ticks so far.
    count: AtomicU64,
    /// Guests that are being driven.
    driven: AtomicUsize,
    /// The thread sleeps until it is woken, or is about to.
    parked: AtomicBool,
    ended: AtomicBool,
    /// Set before it first parks.
    thread: OnceLock<Thread>,
}

/// A guest that is being driven, until this is dropped.
#[derive(Debug)]
pub struct Driven<'a>(&'a Ticker);

/// The ticks of an engine: they move its epoch on, in a thread of their own. One for each engine:
/// several pools may share one.
pub fn start_epoch_ticker(engine: &Engine) -> Ticks {
    static TICKING: Mutex<Vec<(EngineWeak, Weak<Handle>)>> = Mutex::new(Vec::new());
    let mut ticking = lock(&TICKING);
    ticking.retain(|(_, ticks)| ticks.strong_count() > 0);
    let is_this = |other: &EngineWeak| other.upgrade().is_some_and(|o| Engine::same(&o, engine));
    let known = ticking.iter().find(|(other, _)| is_this(other));
    if let Some(ticks) = known.and_then(|(_, ticks)| ticks.upgrade()) {
        return Ticks(ticks);
    }
    let ticker = Arc::new(Ticker::default());
    let handle = Arc::new(Handle(Arc::clone(&ticker)));
    ticking.push((engine.weak(), Arc::downgrade(&handle)));
    drop(ticking);
    let engine = engine.weak();
    let thread = std::thread::Builder::new().name("millpond-epoch".to_owned());
    if let Err(error) = thread.spawn(move || ticker.run(&engine)) {
        tracing::error!(%error, "guests that compute without end cannot be stopped");
    }
    Ticks(handle)
}

impl Ticks {
    /// Returns how many there have been.
    pub fn count(&self) -> u64 {
        self.0.0.count.load(Ordering::Relaxed)
    }

    /// Begins to drive a guest: there are ticks until what this returns is dropped.
    pub fn drive(&self) -> Driven<'_> {
        let ticker = &*self.0.0;
        // With those in `park`: either the thread sees this, or this sees that it parks.
        ticker.driven.fetch_add(1, Ordering::SeqCst);
        if ticker.parked.load(Ordering::SeqCst) {
            ticker.wake();
        }
        Driven(ticker)
    }

    /// Drives a guest's future: there are ticks while it is polled.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            let _driven = self.drive();
            future.as_mut().poll(cx)
        })
        .await
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.0.driven.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

impl Ticker {
    fn run(&self, engine: &EngineWeak) {
        let _ = self.thread.set(std::thread::current());
        let mut idle = 0;
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            drop(engine);
            self.count.fetch_add(1, Ordering::Relaxed);
            idle = if self.driven.load(Ordering::Relaxed) > 0 { 0 } else { idle + 1 };
            if idle > LINGER {
                self.park();
                idle = 0;
            }
        }
    }

    /// Sleeps until a guest is driven.
    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        let drives = || self.driven.load(Ordering::SeqCst) > 0 || self.ended.load(Ordering::SeqCst);
        // Woken, it lingers, though the guest be done already: the next one need not wake it again.
        while !drives() && self.parked.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        // The first one does; others find it awake.
        if self.parked.swap(false, Ordering::SeqCst) {
            self.thread.get().inspect(|thread| thread.unpark());
        }
    }
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

#[cfg(test)]
mod tests;

//! Time, real or virtual, and the pool's one task, which is run by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use millpond_pool_core::Runtime;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime whose tasks run when they are told to.
pub struct Clock {
    began: Instant,
    /// Virtual time, in microseconds: each look at the clock takes one. `None`: real time.
    passed: Option<AtomicU64>,
    reaper: Mutex<Option<Task>>,
    /// Until when the reaper sleeps, in microseconds.
    until: AtomicU64,
    woken: Arc<Woken>,
    waker: Waker,
}

impl Clock {
    /// The machine's time.
    pub fn real() -> Self {
        Self::new(None)
    }

    /// The same on each run.
    pub fn steps() -> Self {
        Self::new(Some(AtomicU64::new(0)))
    }

    fn new(passed: Option<AtomicU64>) -> Self {
        let woken = Arc::new(Woken::default());
        Self {
            began: Instant::now(),
            passed,
            reaper: Mutex::default(),
            until: AtomicU64::new(u64::MAX),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    /// Polls the reaper, if it was woken or its time has come.
    pub(crate) fn turn(&self) {
        let passed = self.now().saturating_duration_since(self.began).as_micros() as u64;
        if !self.woken.0.swap(false, Relaxed) && passed < self.until.load(Relaxed) {
            return;
        }
        self.until.store(u64::MAX, Relaxed);
        let mut reaper = self.reaper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &mut *reaper {
            let _ = task.as_mut().poll(&mut Context::from_waker(&self.waker));
        }
    }
}

impl Runtime for Clock {
    type Sleep = Never;

    fn now(&self) -> Instant {
        match &self.passed {
            Some(passed) => self.began + Duration::from_micros(passed.fetch_add(1, Relaxed)),
            None => Instant::now(),
        }
    }

    fn sleep_until(&self, at: Instant) -> Never {
        let passed = at.saturating_duration_since(self.began).as_micros();
        self.until.store(passed as u64, Relaxed);
        Never
    }

    fn spawn(&self, task: Task) {
        *self.reaper.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        self.woken.0.store(true, Relaxed);
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// A sleep that ends by being dropped: the clock knows when.
#[derive(Debug)]
pub struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

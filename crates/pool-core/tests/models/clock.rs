//! Time as the models have it: it stands until the model moves it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millpond_pool_core::Runtime;

use crate::mode::{AtomicU64, Mutex};

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock that is set by hand.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Time>);

#[derive(Default)]
struct Time {
    secs: AtomicU64,
    sleepers: Mutex<Vec<(Instant, Waker)>>,
    spawned: std::sync::Mutex<Option<Task>>,
}

impl Clock {
    pub(crate) fn set(&self, secs: u64) {
        self.0.secs.store(secs, Release);
        self.ring();
    }

    /// For the models with several who move it.
    #[cfg(not(loom))]
    pub(crate) fn advance(&self, secs: u64) {
        self.0.secs.fetch_add(secs, std::sync::atomic::Ordering::AcqRel);
        self.ring();
    }

    /// The task that the pool spawned.
    pub(crate) fn spawned(&self) -> Option<Task> {
        self.0.spawned.lock().unwrap().take()
    }

    fn ring(&self) {
        let now = self.now();
        let due: Vec<_> = {
            let mut sleepers = self.0.sleepers.lock().unwrap();
            sleepers.extract_if(.., |(at, _)| *at <= now).collect()
        };
        for (_, waker) in due {
            waker.wake();
        }
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Runtime for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now) + secs(self.0.secs.load(Acquire))
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: Arc::downgrade(&self.0), at }
    }

    fn spawn(&self, task: Task) {
        *self.0.spawned.lock().unwrap() = Some(task);
    }
}

pub(crate) struct Sleep {
    clock: Weak<Time>,
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = Clock(self.clock.upgrade().expect("the pool keeps the clock"));
        let waker = cx.waker().clone();
        let mut sleepers = clock.0.sleepers.lock().unwrap();
        if self.at <= clock.now() {
            return Poll::Ready(());
        }
        sleepers.push((self.at, waker));
        Poll::Pending
    }
}

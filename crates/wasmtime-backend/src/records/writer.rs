//! The thread that writes records, one at a time.
//!
//! It is there while there is something to write. Nothing waits for it but a drain, and that not for long.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond_engine::lock;
use tokio::sync::Notify;

/// How long a drain waits for a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// There is a thread.
    writes: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { jobs: VecDeque::new(), writes: false });

/// Has something written after what came before. There is a place for each that comes, so these are few. A job that
/// is dropped has not been written.
pub(super) fn write(job: impl FnOnce() + Send + 'static) {
    let mut queue = lock(&QUEUE);
    queue.jobs.push_back(Box::new(job));
    if queue.writes {
        return;
    }
    let thread = std::thread::Builder::new().name("millpond-records".to_owned());
    queue.writes = thread.spawn(write_all).is_ok();
    if !queue.writes {
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(jobs);
    }
}

fn write_all() {
    loop {
        let mut queue = lock(&QUEUE);
        let Some(job) = queue.jobs.pop_front() else {
            queue.writes = false;
            return;
        };
        drop(queue);
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// The records of a pool that are still to be written.
#[derive(Clone, Default)]
pub(super) struct Outstanding(Arc<Count>);

#[derive(Default)]
struct Count {
    records: AtomicUsize,
    none: Notify,
}

impl Outstanding {
    /// One more, until this is dropped.
    pub(super) fn begin(&self) -> Begun {
        self.0.records.fetch_add(1, Ordering::Relaxed);
        Begun(self.clone())
    }

    /// Waits until there are none, but not for ever.
    pub(super) async fn none(&self) {
        let none = async {
            loop {
                let told = self.0.none.notified();
                if self.0.records.load(Ordering::Acquire) == 0 {
                    return;
                }
                told.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, none).await;
    }
}

/// A record that is to be written.
pub(super) struct Begun(Outstanding);

impl Drop for Begun {
    fn drop(&mut self) {
        if self.0.0.records.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.none.notify_waiters();
        }
    }
}

pub(super) static WRITTEN: AtomicU64 = AtomicU64::new(0);
pub(super) static LOST: AtomicU64 = AtomicU64::new(0);

/// Counts profiles and core dumps of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordCounts {
    /// Those that were written.
    pub written: u64,
    /// Those that were not: they were more than the [limits](crate::RecordLimits) allow, or the disk did not take them.
    pub lost: u64,
}

impl RecordCounts {
    /// Returns the counts so far.
    pub fn now() -> Self {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self { written: count(&WRITTEN), lost: count(&LOST) }
    }
}

//! How many requests may be at the upstream, and how many may wait to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millpond::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::settings::Settings;

/// Requests at the upstream at once, and those that wait for that; unless told otherwise, as in a pool.
const SEATS: usize = 1000;
const QUEUE: usize = 1024;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The limit of requests: seats, and a queue in front of them.
#[derive(Clone)]
pub(crate) struct ConcurrencyLimit {
    /// As many as there are seats and places in the queue.
    all: Arc<Semaphore>,
    seats: Arc<Semaphore>,
    taken: Arc<AtomicU64>,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    all: usize,
    seats: usize,
    queue_timeout: Duration,
}

/// A request's seat, from its way to the upstream until its response has ended.
#[derive(Debug)]
pub(crate) struct Seat {
    _seat: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// How many requests are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) queued: usize,
    pub(crate) running: usize,
    /// Went there so far.
    pub(crate) taken: u64,
}

impl ConcurrencyLimit {
    /// As the settings say, but no more seats than there can be connections.
    pub(crate) fn new(settings: &Settings, connections: usize) -> Self {
        let seats = settings.max_concurrent_requests.unwrap_or(SEATS);
        let seats = seats.min(connections.max(1)).min(Semaphore::MAX_PERMITS);
        let queue = settings.queue.unwrap_or(QUEUE);
        let all = seats.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        let queue_timeout = settings.queue_timeout.unwrap_or(QUEUE_TIMEOUT);
        Self::of(Limits { all, seats, queue_timeout })
    }

    fn of(limits: Limits) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (all, seats) = (semaphore(limits.all), semaphore(limits.seats));
        Self { all, seats, taken: Arc::default(), limits }
    }

    /// So many seats, and so many places in the queue.
    #[cfg(test)]
    pub(crate) fn with(seats: usize, queue: usize) -> Self {
        Self::of(Limits { all: seats + queue, seats, queue_timeout: QUEUE_TIMEOUT })
    }

    /// Waits for a seat, first come, first served. Where there is no place in the queue, the request fails at once.
    pub(crate) async fn take(&self) -> Result<Seat, Error> {
        let place = Arc::clone(&self.all).try_acquire_owned();
        let place = place.map_err(|_| Error::new(ErrorKind::Overloaded))?;
        let seat = Arc::clone(&self.seats).acquire_owned();
        let seat = tokio::time::timeout(self.limits.queue_timeout, seat).await;
        let seat = seat.map_err(|_| Error::new(ErrorKind::QueueTimeout))?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { _seat: seat.expect("the semaphore is never closed"), _place: place })
    }

    pub(crate) fn usage(&self) -> Usage {
        // Not of one moment: a request takes its place first, and gives its seat back first.
        let running = self.limits.seats - self.seats.available_permits();
        let all = self.limits.all - self.all.available_permits();
        let taken = self.taken.load(Ordering::Relaxed);
        Usage { queued: all.saturating_sub(running), running, taken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn seats_queue_and_time_in_it_are_bounded() {
        let limit = ConcurrencyLimit::with(1, 1);
        let first = limit.take().await.unwrap();
        let second = tokio::spawn({
            let limit = limit.clone();
            async move { limit.take().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(limit.usage(), Usage { queued: 1, running: 1, taken: 1 });
        assert_eq!(limit.take().await.unwrap_err().kind(), ErrorKind::Overloaded);
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(limit.usage(), Usage { queued: 0, running: 1, taken: 2 });

        let start = tokio::time::Instant::now();
        assert_eq!(limit.take().await.unwrap_err().kind(), ErrorKind::QueueTimeout);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        drop(second);
        assert_eq!(limit.usage(), Usage { queued: 0, running: 0, taken: 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_queue_nothing_waits() {
        let limit = ConcurrencyLimit::with(1, 0);
        let _first = limit.take().await.unwrap();
        assert_eq!(limit.take().await.unwrap_err().kind(), ErrorKind::Overloaded);
    }
}

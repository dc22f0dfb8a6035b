//! What an operator allows: how many instances, how many requests on each, how long a queue, and
//! how long anything may take.

use std::time::Duration;

/// The limits of a pool. All of them can be changed while it runs, see
/// [`Pool::handle_limits`](crate::state::Pool::handle_limits).
///
/// A duration of [`Duration::MAX`] means "no limit"; sums never overflow.
///
/// ```
/// use millpond_pool_core::{Limits, MaxRequests};
/// use std::time::Duration;
///
/// let mut limits = Limits::default();
/// limits.max_instances = 8;
/// limits.concurrency = 16;
/// limits.max_requests = MaxRequests::exactly(1000);
/// limits.queue_timeout = Duration::from_millis(500);
/// // 8 instances with 16 seats each, and the queue.
/// assert_eq!(limits.permits(), 8 * 16 + 1024);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Live instances, counted from the start until their store is dropped. Default 1000.
    pub max_instances: usize,
    /// Requests that may wait for a seat. Default 1024.
    pub max_queue: usize,
    /// Requests that one instance may serve at a time; 1 makes its use exclusive. Default 1.
    pub concurrency: usize,
    /// Requests that one instance may serve in its life. Default: one, a fresh instance for each.
    pub max_requests: MaxRequests,
    /// Requests that may run in guests at once, over all instances. Default: as many as there are
    /// seats.
    pub max_running: Option<usize>,
    /// How long a request may wait in the queue. Default 5 s.
    pub queue_timeout: Duration,
    /// How long an instance may take to start. Default 10 s.
    pub start_timeout: Duration,
    /// How long a guest may take from hand-over to the response head. Default 30 s.
    pub request_timeout: Duration,
    /// How long a shared instance that was just given a request counts as "about to have room
    /// again". If its guest computes for longer without waiting for anything, requests that wait
    /// get another instance. Default 1 ms.
    pub settle_time: Duration,
    /// Instances kept ready before any request needs them: spares. They are made off the request path
    /// as far as the other limits and the budget allow, and are the first to be reclaimed. With fresh
    /// instances this takes the start out of each request's time. Default 0.
    pub min_idle: usize,
    /// How long an instance may have nothing to do. Default 10 s. This and the following ones are kept
    /// by the policy [`standard`](crate::expiration::standard).
    pub idle_timeout: Duration,
    /// How long a guest may work on when all its response bodies have ended. Default 30 s.
    pub post_return_timeout: Duration,
    /// How long a response body may go without moving. Default 30 s.
    pub body_stall_timeout: Duration,
    /// How old an instance may become; then it finishes what it has. Default: no limit.
    pub max_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_instances: 1000,
            max_queue: 1024,
            concurrency: 1,
            max_requests: MaxRequests::exactly(1),
            max_running: None,
            queue_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            settle_time: Duration::from_millis(1),
            min_idle: 0,
            idle_timeout: Duration::from_secs(10),
            post_return_timeout: Duration::from_secs(30),
            body_stall_timeout: Duration::from_secs(30),
            max_age: Duration::MAX,
        }
    }
}

impl Limits {
    /// The requests that can be in guests at once.
    pub fn seats(&self) -> usize {
        let seats = self.max_instances.saturating_mul(self.concurrency.max(1));
        self.max_running.map_or(seats, |running| seats.min(running))
    }

    /// The permits there are: seats and queue places.
    pub fn permits(&self) -> usize {
        self.seats().saturating_add(self.max_queue)
    }
}

/// How many requests an instance serves before it is retired.
///
/// With a shortening each instance draws its own number, so that instances which started together
/// do not all end together.
///
/// ```
/// use millpond_pool_core::MaxRequests;
///
/// let spread = MaxRequests::exactly(128).shortened_by(0.25); // 97 to 128
/// assert_eq!(spread.most(), Some(128));
/// assert_eq!(MaxRequests::unlimited().most(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxRequests {
    most: Option<u64>,
    shorten: f64,
}

impl MaxRequests {
    /// Exactly `n` requests; 0 is taken as 1.
    pub const fn exactly(n: u64) -> Self {
        Self { most: Some(if n == 0 { 1 } else { n }), shorten: 0.0 }
    }

    /// No limit.
    pub const fn unlimited() -> Self {
        Self { most: None, shorten: 0.0 }
    }

    /// Shortens each instance's number at random by up to `fraction` (0 to 1), never lengthens it.
    #[must_use]
    pub fn shortened_by(mut self, fraction: f64) -> Self {
        self.shorten = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// The largest number an instance can draw.
    pub fn most(&self) -> Option<u64> {
        self.most
    }

    /// The number of one instance; `unit` is uniform, from 0 to below 1.
    pub(crate) fn draw(&self, unit: f64) -> u64 {
        let Some(most) = self.most else { return u64::MAX };
        let less = (most as f64 * self.shorten * unit) as u64;
        (most - less.min(most)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_number_stays_in_bounds() {
        let spread = MaxRequests::exactly(128).shortened_by(0.25);
        let last = 1.0 - f64::EPSILON;
        assert_eq!(spread.draw(0.0), 128);
        assert_eq!(spread.draw(last), 97);
        assert_eq!(MaxRequests::exactly(3).draw(last), 3);
        assert_eq!(MaxRequests::exactly(3).shortened_by(1.0).draw(last), 1);
        assert_eq!(MaxRequests::unlimited().draw(0.5), u64::MAX);
    }

    #[test]
    fn huge_limits_do_not_overflow() {
        let limits =
            Limits { max_instances: usize::MAX, concurrency: usize::MAX, ..Limits::default() };
        assert_eq!(limits.permits(), usize::MAX);
    }
}

//! What a policy may know of an instance and of its pool.

use std::fmt;
use std::time::Instant;

use crate::arena::Key;

/// Names one instance of a pool. Its number, counted from 1, is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub(crate) Key);

impl InstanceId {
    /// The number people see in logs.
    pub fn number(self) -> u64 {
        self.0.serial()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({})", self.number())
    }
}

/// Names one submitted request of a pool. Older requests have smaller ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) Key);

impl RequestId {
    /// The number people see in logs, counted from 1.
    pub fn number(self) -> u64 {
        self.0.serial()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.number())
    }
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// At least one request waits for its response head.
    Busy,
    /// Of those that wait for their head, each is pinned: the guest waits for the host between two
    /// calls, see [`InstanceEvent::Pinned`](crate::InstanceEvent::Pinned).
    Pinned,
    /// No request waits for its head; at least one body is open.
    Streaming,
    /// All bodies ended and the guest still works.
    PostReturn,
    /// Nothing to do.
    Idle,
}

/// An instance as its expiration policy sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceView {
    /// Which instance.
    pub id: InstanceId,
    /// What it is doing.
    pub status: Status,
    /// Since when.
    pub since: Instant,
    /// When its start was complete.
    pub started: Instant,
    /// Requests waiting for their response head. Includes those whose caller has left, but not those
    /// that are pinned.
    pub busy: usize,
    /// Requests that are pinned: the guest waits for the host between two calls.
    pub pinned: usize,
    /// Requests whose body is open.
    pub streaming: usize,
    /// Requests it was given in its life.
    pub requests: u64,
    /// When it was given, or resumed with, the newest of those that are `busy`.
    pub newest_busy: Option<Instant>,
    /// Of its open bodies that are to move, the one that has not for the longest time: since when. A body
    /// is not to move while its guest is pinned, or makes its last call.
    pub stalled_since: Option<Instant>,
    /// Of its open bodies, the one that has moved last: when. `None` as well if one of them is not to move.
    pub last_moved: Option<Instant>,
    /// Bytes of linear memory it holds, as last reported.
    pub memory: usize,
    /// Resources in its table, as last reported.
    pub resources: usize,
    /// It waits for its first request, made ahead for [`min_idle`](crate::Limits::min_idle).
    pub spare: bool,
    /// A number drawn for this instance, uniform from 0 to below 1; the same in each poll.
    pub random: f64,
}

impl InstanceView {
    /// A new instance that has nothing to do, for the test of a policy: change what matters.
    ///
    /// ```
    /// use millpond_pool_core::expiration::{ExpirationContext, Expired, InstanceExpiration, max_age};
    /// use millpond_pool_core::{InstanceView, Reason};
    /// use std::{pin::pin, task::{Poll, Waker}, time::{Duration, Instant}};
    ///
    /// let now = Instant::now();
    /// let minute = Duration::from_secs(60);
    /// let view = InstanceView::idle(now);
    /// let mut policy = pin!(max_age(minute));
    ///
    /// let mut cx = ExpirationContext::new(now, &view, Waker::noop());
    /// assert_eq!(policy.as_mut().poll_expired(&mut cx), Poll::Pending);
    /// assert_eq!(cx.requested_wake(), Some(now + minute));
    ///
    /// let mut cx = ExpirationContext::new(now + minute, &view, Waker::noop());
    /// let drained = Expired::Drain(Reason::Age);
    /// assert_eq!(policy.as_mut().poll_expired(&mut cx), Poll::Ready(drained));
    /// ```
    pub fn idle(now: Instant) -> Self {
        Self {
            id: InstanceId(Key::FIRST),
            status: Status::Idle,
            since: now,
            started: now,
            busy: 0,
            pinned: 0,
            streaming: 0,
            requests: 0,
            newest_busy: None,
            stalled_since: None,
            last_moved: None,
            memory: 0,
            resources: 0,
            spare: false,
            random: 0.0,
        }
    }
}

/// The load of a pool at the moment of a poll.
///
/// A policy that asks for it with [`ExpirationContext::load`](crate::expiration::ExpirationContext::load)
/// is polled again when requests begin to wait or stop waiting, and when the pressure begins or ends; the
/// numbers are those of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Requests in the queue.
    pub queued: usize,
    /// Requests on instances.
    pub running: usize,
    /// Instances with nothing to do.
    pub idle: usize,
    /// Live instances.
    pub live: usize,
    /// Another instance is wanted and cannot be had: the pool, its budget or the allocator is full.
    pub pressure: bool,
}

impl Load {
    /// What brings policies that look at the load back: all else changes with each request.
    pub(crate) fn level(self) -> (bool, bool) {
        (self.queued > 0, self.pressure)
    }
}

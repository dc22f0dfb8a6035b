//! When does an instance end?
//!
//! A policy answers that for one instance. It is polled, like a future, whenever its instance's
//! view changes, when a time it asked for has come, and when its waker was woken. Unlike a
//! future it is *level-triggered*: it may be ready now and pending later (an instance that was
//! idle for too long stops being so once it is busy), so it is polled again after it was ready,
//! and a verdict on a view that has changed since is thrown away.
//!
//! Policies own no timers: they say with [`ExpirationContext::wake_at`] when to look again, and
//! the pool keeps one deadline for each instance.

mod combine;
mod timeouts;

use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

pub use combine::{All, Any, FromFn, all, any, from_fn};
pub use timeouts::{
    MaxAge, MaxServed, StatusTimeout, body_stall_timeout, busy_timeout, idle_timeout, max_age,
    max_requests, post_return_timeout,
};

use crate::reason::Reason;
use crate::view::InstanceView;

/// The policy of one instance.
///
/// It is polled by whoever changed the instance, on its thread: it must not block, and must not call
/// the pool.
///
/// ```
/// use millpond_pool_core::expiration::{Expired, ExpirationContext, InstanceExpiration};
/// use millpond_pool_core::{Reason, Status};
/// use std::{pin::Pin, task::Poll, time::Duration};
///
/// /// Ends an instance once it has been idle for a tenth of the time it has lived.
/// struct TenthOfLife;
///
/// impl InstanceExpiration for TenthOfLife {
///     fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
///         let view = cx.view();
///         if view.status != Status::Idle {
///             return Poll::Pending;
///         }
///         let lived = view.since.saturating_duration_since(view.started);
///         cx.expire_at(view.since, lived / 10 + Duration::from_secs(1), Expired::Retire(Reason::Idle))
///     }
/// }
/// ```
pub trait InstanceExpiration: Send + 'static {
    /// Whether the instance has expired, as things are now.
    ///
    /// When pending, the policy must have arranged to be polled again: by
    /// [`wake_at`](ExpirationContext::wake_at), by keeping a clone of
    /// [`waker`](ExpirationContext::waker), or not at all if only a change of the view matters.
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired>;

    /// Expires when either does. See [`any`].
    fn or(self, other: impl InstanceExpiration) -> Any
    where
        Self: Sized,
    {
        any([boxed(self), boxed(other)])
    }

    /// Expires when both do. See [`all`].
    fn and(self, other: impl InstanceExpiration) -> All
    where
        Self: Sized,
    {
        all([boxed(self), boxed(other)])
    }
}

/// A policy of any type.
pub type BoxExpiration = Pin<Box<dyn InstanceExpiration>>;

/// Boxes a policy, for [`any`] and [`all`].
pub fn boxed(policy: impl InstanceExpiration) -> BoxExpiration {
    Box::pin(policy)
}

impl InstanceExpiration for BoxExpiration {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        self.as_mut().get_mut().as_mut().poll_expired(cx)
    }
}

/// A policy's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expired {
    /// No new requests; what runs may finish.
    Drain(Reason),
    /// The end, now. Requests that run on the instance fail.
    Retire(Reason),
}

impl Expired {
    /// Why.
    pub fn reason(self) -> Reason {
        match self {
            Self::Drain(reason) | Self::Retire(reason) => reason,
        }
    }
}

/// What a policy is polled with.
#[derive(Debug)]
pub struct ExpirationContext<'a> {
    now: Instant,
    view: &'a InstanceView,
    waker: &'a Waker,
    wake_at: Option<Instant>,
}

impl<'a> ExpirationContext<'a> {
    /// A context, as the pool makes it; and as the test of a policy does.
    pub fn new(now: Instant, view: &'a InstanceView, waker: &'a Waker) -> Self {
        Self { now, view, waker, wake_at: None }
    }

    /// The time of this poll.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The instance as it is.
    pub fn view(&self) -> &'a InstanceView {
        self.view
    }

    /// Waking it gets the policy polled again.
    pub fn waker(&self) -> &'a Waker {
        self.waker
    }

    /// Asks to be polled again at `at`, unless something asks for an earlier time.
    pub fn wake_at(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Expired if `after` has passed since `since`; otherwise asks to be polled when it has.
    /// A time too far away to be named is never.
    pub fn expire_at(
        &mut self,
        since: Instant,
        after: Duration,
        verdict: Expired,
    ) -> Poll<Expired> {
        match since.checked_add(after) {
            Some(at) if at <= self.now => Poll::Ready(verdict),
            Some(at) => {
                self.wake_at(at);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }

    /// The earliest time asked for.
    pub fn requested_wake(&self) -> Option<Instant> {
        self.wake_at
    }
}

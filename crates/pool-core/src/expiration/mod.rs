//! When does an instance end?
//!
//! A policy answers that for one instance. It is polled, like a future, whenever its instance's
//! view changes (unless it says that [it takes its time](InstanceExpiration::steady_for)), when a time it
//! asked for has come, and when its waker was woken. Unlike a
//! future it is *level-triggered*: it may be ready now and pending later (an instance that was
//! idle for too long stops being so once it is busy), so it is polled again after it was ready,
//! and a verdict on a view that has changed since is thrown away.
//!
//! Policies own no timers: they say with [`ExpirationContext::wake_at`] when to look again, and
//! the pool keeps one deadline for each instance.

mod combine;
mod context;
mod jitter;
mod signal;
mod timeouts;
mod usage;

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

pub use combine::{All, Any, FromFn, all, any, from_fn};
pub use context::{Asked, ExpirationContext, Polled};
pub use jitter::Jitter;
pub use signal::{Follow, Signal};
pub use timeouts::{
    MaxAge, MaxRequestsPolicy, Standard, StatusTimeout, body_stall_timeout, busy_timeout,
    idle_timeout, max_age, max_requests, post_return_timeout, standard,
};
pub use usage::{MemoryWatermark, ResourceGrowth, memory_watermark, resource_growth};

use crate::reason::Reason;

/// The policy of one instance.
///
/// It is polled by the caller that changed the instance, on that caller's thread. So it must not
/// block, and must not call the pool.
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

    /// For how long after any change of the view it stays pending, and asks for no time that is earlier
    /// than what it has just asked for. Asked after a poll that found it pending.
    ///
    /// An instance whose policy is steady is polled when such a time has passed, instead of with each
    /// change: several times with each request. What the instance holds
    /// ([`memory`](crate::InstanceView::memory), [`resources`](crate::InstanceView::resources)), and changes
    /// of what is not in the view, get the policy polled all the same. Less than 100 ms count as none. By
    /// default it is not steady.
    ///
    /// ```
    /// use millpond_pool_core::expiration::{ExpirationContext, InstanceExpiration, idle_timeout};
    /// use millpond_pool_core::InstanceView;
    /// use std::{task::Waker, time::{Duration, Instant}};
    ///
    /// // Whatever becomes of the instance: it has to be idle for as long, from then on.
    /// let (view, after) = (InstanceView::idle(Instant::now()), Duration::from_secs(10));
    /// let cx = ExpirationContext::new(Instant::now(), &view, Waker::noop());
    /// assert_eq!(idle_timeout(after).steady_for(&cx), after);
    /// ```
    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        let _ = cx;
        Duration::ZERO
    }

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

    /// Shortens the times and counts of the policy at random by up to `fraction` (0 to 1), never
    /// lengthens them: each instance by a part of its own, so that instances which started together do
    /// not all end together. Concerns what the policy asks for with
    /// [`expire_at`](ExpirationContext::expire_at), [`shorten`](ExpirationContext::shorten) and
    /// [`shorten_count`](ExpirationContext::shorten_count); of those here: all timeouts, [`max_age`] and
    /// [`max_requests`].
    ///
    /// ```
    /// use millpond_pool_core::expiration::{InstanceExpiration, max_age};
    /// use std::time::Duration;
    ///
    /// // Between 45 and 60 minutes.
    /// let policy = max_age(Duration::from_secs(3600)).jitter(0.25);
    /// ```
    fn jitter(self, fraction: f64) -> Jitter
    where
        Self: Sized,
    {
        Jitter::new(boxed(self), fraction)
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

    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        (**self).steady_for(cx)
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

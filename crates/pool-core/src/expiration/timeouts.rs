//! Policies made of time and counts.
//!
//! A spare, which waits for its first request, has no idle timeout: see
//! [`Limits::min_idle`](crate::Limits::min_idle).

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::{ExpirationContext, Expired, InstanceExpiration};
use crate::reason::Reason;
use crate::view::Status;

/// Retires an instance that has had nothing to do for `after`.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, idle_timeout, max_age};
/// use std::time::Duration;
///
/// let policy = idle_timeout(Duration::from_secs(10)).or(max_age(Duration::from_secs(3600)));
/// ```
pub fn idle_timeout(after: Duration) -> StatusTimeout {
    StatusTimeout { kind: Kind::Idle, after }
}

/// Retires an instance whose newest request has waited for its response head for `after`: by then
/// all of them have waited that long. One that is pinned puts that off: it waits for the host. This is what `wasmtime serve` does; the pool's own
/// `request_timeout` answers each request in its time, so this is a second line.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, busy_timeout, standard};
/// use std::time::Duration;
///
/// let policy = standard().or(busy_timeout(Duration::from_secs(60)));
/// ```
pub fn busy_timeout(after: Duration) -> StatusTimeout {
    StatusTimeout { kind: Kind::Busy, after }
}

/// Retires an instance that works for longer than `after` once all its bodies have ended.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, idle_timeout, post_return_timeout};
/// use std::time::Duration;
///
/// // Five seconds to write its logs, then ten to wait for the next request.
/// let work = post_return_timeout(Duration::from_secs(5));
/// let policy = work.or(idle_timeout(Duration::from_secs(10)));
/// ```
pub fn post_return_timeout(after: Duration) -> StatusTimeout {
    StatusTimeout { kind: Kind::PostReturn, after }
}

/// Ends an instance on which an open body has not moved for `after`: the guest made nothing, or the
/// client took nothing. It is drained as long as other requests run on it, so that a client which reads
/// nothing fails none of its neighbours, and retired once nothing is left but bodies that do not move.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, body_stall_timeout, idle_timeout};
/// use std::time::Duration;
///
/// // A client that reads nothing for a minute does not keep its instance.
/// let stalled = body_stall_timeout(Duration::from_secs(60));
/// let policy = stalled.or(idle_timeout(Duration::from_secs(10)));
/// ```
pub fn body_stall_timeout(after: Duration) -> StatusTimeout {
    StatusTimeout { kind: Kind::BodyStall, after }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Idle,
    Busy,
    PostReturn,
    BodyStall,
}

/// Ends an instance that stays in one status for too long.
///
/// Made by [`idle_timeout`], [`busy_timeout`], [`post_return_timeout`] and [`body_stall_timeout`].
#[derive(Clone, Debug)]
pub struct StatusTimeout {
    kind: Kind,
    after: Duration,
}

impl InstanceExpiration for StatusTimeout {
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let view = cx.view();
        let in_status = |status| (view.status == status).then_some(view.since);
        let (since, reason) = match self.kind {
            Kind::Idle => (in_status(Status::Idle).filter(|_| !view.spare), Reason::Idle),
            Kind::Busy => (view.newest_busy.filter(|_| view.pinned == 0), Reason::Timeout),
            Kind::PostReturn => (in_status(Status::PostReturn), Reason::Timeout),
            Kind::BodyStall => return self.poll_stalled(cx),
        };
        match since {
            Some(since) => cx.expire_at(since, self.after, Expired::Retire(reason)),
            None => Poll::Pending,
        }
    }

    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        match self.kind {
            // If the newest or a pinned one ends, an older one counts, which has waited for longer.
            Kind::Busy if cx.view().busy + cx.view().pinned > 1 => Duration::ZERO,
            _ => cx.shorten(self.after),
        }
    }
}

impl StatusTimeout {
    fn poll_stalled(&self, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let view = cx.view();
        let Some(first) = view.stalled_since else { return Poll::Pending };
        if view.busy + view.pinned == 0
            && let Some(last) = view.last_moved
        {
            let all = cx.expire_at(last, self.after, Expired::Retire(Reason::Timeout));
            if all.is_ready() {
                return all;
            }
        }
        cx.expire_at(first, self.after, Expired::Drain(Reason::Timeout))
    }
}

/// Drains an instance once it is `age` old.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, max_age, standard};
/// use std::time::Duration;
///
/// // An hour, or up to a quarter less, so that not all end at once.
/// let policy = standard().or(max_age(Duration::from_secs(3600)).jitter(0.25));
/// ```
pub fn max_age(age: Duration) -> MaxAge {
    MaxAge { age }
}

/// Ends an instance by its age. Made by [`max_age`].
#[derive(Clone, Debug)]
pub struct MaxAge {
    age: Duration,
}

impl InstanceExpiration for MaxAge {
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        cx.expire_at(cx.view().started, self.age, Expired::Drain(Reason::Age))
    }

    fn steady_for(&self, _: &ExpirationContext<'_>) -> Duration {
        Duration::MAX
    }
}

/// Drains an instance that was given `count` requests.
///
/// As a policy it acts after the request was given, so several given at once may exceed it; the
/// limit [`Limits::max_requests`](crate::Limits::max_requests) is exact.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, max_requests, standard};
///
/// let policy = standard().or(max_requests(1000).jitter(0.1));
/// ```
pub fn max_requests(count: u64) -> MaxRequestsPolicy {
    MaxRequestsPolicy { count }
}

/// Ends an instance by the number of its requests. Made by [`max_requests`].
#[derive(Clone, Debug)]
pub struct MaxRequestsPolicy {
    count: u64,
}

impl InstanceExpiration for MaxRequestsPolicy {
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        if cx.view().requests >= cx.shorten_count(self.count) {
            Poll::Ready(Expired::Drain(Reason::Requests))
        } else {
            Poll::Pending
        }
    }
}

/// The policy that follows the pool's own limits: [`idle_timeout`](crate::Limits::idle_timeout),
/// [`post_return_timeout`](crate::Limits::post_return_timeout),
/// [`body_stall_timeout`](crate::Limits::body_stall_timeout) and [`max_age`](crate::Limits::max_age), as
/// they are at the moment: changing them on a running pool changes this policy.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, memory_watermark, standard};
///
/// let policy = standard().or(memory_watermark(64 << 20));
/// ```
pub fn standard() -> Standard {
    Standard {}
}

/// Ends an instance as the limits say. Made by [`standard`].
#[derive(Clone, Debug)]
pub struct Standard {}

impl InstanceExpiration for Standard {
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let limits = cx.limits();
        let mut timeouts = [
            idle_timeout(limits.idle_timeout),
            post_return_timeout(limits.post_return_timeout),
            body_stall_timeout(limits.body_stall_timeout),
        ];
        let timeouts = timeouts.iter_mut().map(|policy| Pin::new(policy).poll_expired(cx));
        let retired = timeouts.fold(
            Poll::Pending,
            |first: Poll<Expired>, next| {
                if first.is_ready() { first } else { next }
            },
        );
        let aged = Pin::new(&mut max_age(limits.max_age)).poll_expired(cx);
        if retired.is_ready() { retired } else { aged }
    }

    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        let limits = cx.limits();
        let least = limits.idle_timeout.min(limits.post_return_timeout);
        cx.shorten(least.min(limits.body_stall_timeout))
    }
}

//! Policies made of policies.
//!
//! Both combinators poll *every* branch each time, also after one was ready: a branch that is not
//! polled would lose the wake-up it asked for.

use std::fmt;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::{BoxExpiration, ExpirationContext, Expired, InstanceExpiration};

/// Expires when at least one of the policies does. Of several verdicts the strongest counts
/// (retire before drain), then the first reason in the order of [`Reason`](crate::Reason): the
/// order of the policies does not matter. Of no policies, it never expires.
///
/// ```
/// use millpond_pool_core::expiration::{any, boxed, idle_timeout, max_age};
/// use std::time::Duration;
///
/// let policy = any([
///     boxed(idle_timeout(Duration::from_secs(10))),
///     boxed(max_age(Duration::from_secs(3600))),
/// ]);
/// ```
pub fn any(policies: impl IntoIterator<Item = BoxExpiration>) -> Any {
    Any { policies: policies.into_iter().collect() }
}

/// Expires when all of the policies do. The weakest verdict counts (drain before retire), then
/// the first reason in the order of [`Reason`](crate::Reason). Of no policies, it never expires.
///
/// ```
/// use millpond_pool_core::expiration::{all, boxed, idle_timeout, max_requests};
/// use std::time::Duration;
///
/// // Idle for a while, and used at least ten times.
/// let policy = all([boxed(idle_timeout(Duration::from_secs(1))), boxed(max_requests(10))]);
/// ```
pub fn all(policies: impl IntoIterator<Item = BoxExpiration>) -> All {
    All { policies: policies.into_iter().collect() }
}

/// A policy from a plain function.
///
/// ```
/// use millpond_pool_core::expiration::{Expired, from_fn};
/// use millpond_pool_core::Reason;
/// use std::task::Poll;
///
/// let policy = from_fn(|cx| match cx.view().requests {
///     0..100 => Poll::Pending,
///     _ => Poll::Ready(Expired::Drain(Reason::Requests)),
/// });
/// ```
pub fn from_fn<F>(poll: F) -> FromFn<F>
where
    F: FnMut(&mut ExpirationContext<'_>) -> Poll<Expired> + Send + Unpin + 'static,
{
    FromFn { poll }
}

/// Expires when one of several policies does. Made by [`any`].
pub struct Any {
    policies: Vec<BoxExpiration>,
}

impl InstanceExpiration for Any {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let mut strongest: Option<Expired> = None;
        for policy in &mut self.policies {
            if let Poll::Ready(verdict) = policy.as_mut().poll_expired(cx) {
                strongest = Some(match strongest {
                    Some(other) if strength(other) >= strength(verdict) => other,
                    _ => verdict,
                });
            }
        }
        strongest.map_or(Poll::Pending, Poll::Ready)
    }

    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        steady_together(&self.policies, cx)
    }
}

/// Expires when all of several policies do. Made by [`all`].
pub struct All {
    policies: Vec<BoxExpiration>,
}

impl InstanceExpiration for All {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let mut weakest: Option<Expired> = None;
        let mut pending = false;
        for policy in &mut self.policies {
            match policy.as_mut().poll_expired(cx) {
                Poll::Ready(verdict) => {
                    weakest = Some(weakest.map_or(verdict, |other| other.min(verdict)));
                }
                Poll::Pending => pending = true,
            }
        }
        match weakest {
            Some(verdict) if !pending => Poll::Ready(verdict),
            _ => Poll::Pending,
        }
    }

    /// At least as long as the branches that are pending stay so: which those are is not known here.
    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        steady_together(&self.policies, cx)
    }
}

fn steady_together(policies: &[BoxExpiration], cx: &ExpirationContext<'_>) -> Duration {
    policies.iter().map(|policy| policy.steady_for(cx)).min().unwrap_or(Duration::MAX)
}

/// A policy from a function. Made by [`from_fn`].
pub struct FromFn<F> {
    poll: F,
}

impl<F> InstanceExpiration for FromFn<F>
where
    F: FnMut(&mut ExpirationContext<'_>) -> Poll<Expired> + Send + Unpin + 'static,
{
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        (self.poll)(cx)
    }
}

/// Retire is stronger than drain; among equals the earlier reason wins.
fn strength(verdict: Expired) -> (bool, std::cmp::Reverse<crate::Reason>) {
    (matches!(verdict, Expired::Retire(_)), std::cmp::Reverse(verdict.reason()))
}

impl fmt::Debug for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Any").field("policies", &self.policies.len()).finish()
    }
}

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("All").field("policies", &self.policies.len()).finish()
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}

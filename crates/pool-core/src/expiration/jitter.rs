//! Spreads the ends of instances that started together.

use std::fmt;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::{BoxExpiration, ExpirationContext, Expired, InstanceExpiration};

/// Shortens the times and counts of a policy at random, for each instance anew. Made by
/// [`InstanceExpiration::jitter`].
pub struct Jitter {
    policy: BoxExpiration,
    fraction: f64,
}

impl Jitter {
    pub(super) fn new(policy: BoxExpiration, fraction: f64) -> Self {
        let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        Self { policy, fraction }
    }

    fn keep(&self, cx: &ExpirationContext<'_>) -> f64 {
        1.0 - self.fraction * cx.view().random
    }
}

impl InstanceExpiration for Jitter {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let keep = self.keep(cx);
        cx.with_shortening(keep, |cx| self.policy.as_mut().poll_expired(cx))
    }

    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        let keep = self.keep(cx);
        cx.clone().with_shortening(keep, |cx| self.policy.steady_for(cx))
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jitter").field("fraction", &self.fraction).finish_non_exhaustive()
    }
}

//! Policies made of what a guest holds.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::{ExpirationContext, Expired, InstanceExpiration};
use crate::reason::Reason;
use crate::view::Status;

/// Drains an instance that holds more than `bytes` of linear memory: memory of a guest only grows, so
/// one request that needed much makes an instance large for the rest of its life.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, idle_timeout, memory_watermark};
/// use std::time::Duration;
///
/// let policy = idle_timeout(Duration::from_secs(10)).or(memory_watermark(64 << 20));
/// ```
pub fn memory_watermark(bytes: usize) -> MemoryWatermark {
    MemoryWatermark { bytes }
}

/// Ends an instance by its memory. Made by [`memory_watermark`].
#[derive(Clone, Debug)]
pub struct MemoryWatermark {
    bytes: usize,
}

impl InstanceExpiration for MemoryWatermark {
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        if cx.view().memory > self.bytes {
            Poll::Ready(Expired::Drain(Reason::Memory))
        } else {
            Poll::Pending
        }
    }

    fn steady_for(&self, _: &ExpirationContext<'_>) -> Duration {
        Duration::MAX
    }
}

/// Drains an idle instance that holds over `growth` more resources than when it was first idle after a
/// request: it leaks handles. Counted only while idle, since requests that run hold resources rightly.
///
/// ```
/// use millpond_pool_core::expiration::{InstanceExpiration, max_age, resource_growth};
/// use std::time::Duration;
///
/// let policy = max_age(Duration::from_secs(3600)).or(resource_growth(100));
/// ```
pub fn resource_growth(growth: usize) -> ResourceGrowth {
    ResourceGrowth { growth, first: None }
}

/// Ends an instance by the growth of its resource table. Made by [`resource_growth`].
#[derive(Clone, Debug)]
pub struct ResourceGrowth {
    growth: usize,
    /// What it held when it was first idle after a request.
    first: Option<usize>,
}

impl InstanceExpiration for ResourceGrowth {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        let view = cx.view();
        if view.status != Status::Idle || view.requests == 0 {
            return Poll::Pending;
        }
        let first = *self.first.get_or_insert(view.resources);
        if view.resources.saturating_sub(first) > self.growth {
            Poll::Ready(Expired::Drain(Reason::Memory))
        } else {
            Poll::Pending
        }
    }

    /// Unless it only waits for the instance to be idle.
    fn steady_for(&self, cx: &ExpirationContext<'_>) -> Duration {
        let grown = |first| cx.view().resources.saturating_sub(first) > self.growth;
        if self.first.is_none_or(grown) { Duration::ZERO } else { Duration::MAX }
    }
}

//! How loaded a pool is, as its policies see it.

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

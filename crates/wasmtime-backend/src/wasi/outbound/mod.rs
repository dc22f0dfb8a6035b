//! Requests that guests send: where they may go, how many at a time, and how.

mod address;
mod body;
mod connect;
mod destination;
mod hooks;
mod policy;
mod resolve;
mod send;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use destination::{Destination, ParseDestinationError};
pub(super) use hooks::Sent;
pub(super) use policy::Policy;
pub(super) use send::Io;

use super::guest_io::{ConnectionPermit, GuestIo, MAX_PER_INSTANCE};

/// One instance's way out.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    policy: Arc<Policy>,
    io: GuestIo,
    max: usize,
    /// The permits of this instance, made when it takes the first one.
    permits: Option<Arc<Semaphore>>,
}

impl Outbound {
    /// At most so many requests at a time.
    pub(super) fn new(policy: Arc<Policy>, io: GuestIo, max: usize) -> Self {
        Self { policy, io, max, permits: None }
    }

    fn permit(&mut self) -> Option<ConnectionPermit> {
        let max = self.max.min(Semaphore::MAX_PERMITS);
        let permits = self.permits.get_or_insert_with(|| Arc::new(Semaphore::new(max)));
        self.io.connect(permits)
    }
}

impl Default for Outbound {
    /// In sum with all others that are made so.
    fn default() -> Self {
        static IO: std::sync::LazyLock<GuestIo> = std::sync::LazyLock::new(GuestIo::default);
        static POLICY: std::sync::LazyLock<Arc<Policy>> = std::sync::LazyLock::new(Arc::default);
        Self::new(Arc::clone(&POLICY), IO.clone(), MAX_PER_INSTANCE)
    }
}

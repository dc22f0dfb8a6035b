//! Requests that guests send: where they may go, how many at a time, and how.

mod address;
mod body;
mod connect;
mod destination;
mod policy;
mod resolve;
mod send;

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

pub use destination::{Destination, ParseDestinationError};
pub(super) use policy::Policy;
pub(super) use send::Io;

use super::guest_io::{ConnectionPermit, GuestIo};
use super::held::UnderWay;

/// Requests of one instance at a time. Where they have bodies, what the host holds for them allows fewer.
pub(super) const MAX_PER_INSTANCE: usize = 64;

/// What became of a request: the response, and what drives its connection.
pub(super) type Sent = Result<(http::Response<WasiBody>, Io), Error>;

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

    /// Takes the right to send one request; `None` at the limit.
    pub(super) fn permit(&mut self) -> Option<ConnectionPermit> {
        let max = self.max.min(Semaphore::MAX_PERMITS);
        let permits = self.permits.get_or_insert_with(|| Arc::new(Semaphore::new(max)));
        self.io.connect(permits)
    }

    /// Counts a request for which there is no room.
    pub(super) fn refused(&self) {
        self.io.refused();
    }

    /// Sends a request where the policy lets it go. It is under way until its connection and its response's body are
    /// dropped: what was read of a body is held for as long as the guest does not read it.
    pub(super) fn send(
        &self,
        permit: ConnectionPermit,
        under_way: Arc<UnderWay>,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> impl Future<Output = Sent> + Send + 'static {
        let (policy, io) = (Arc::clone(&self.policy), self.io.clone());
        let options = options.unwrap_or_default();
        async move { send::send(&policy, &io, (permit, under_way), request, options).await }
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

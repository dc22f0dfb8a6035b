//! What wasi:http asks its host: where requests may go is up to [`Outbound`], how much may wait to be sent to
//! [`Held`].

use http::HeaderName;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_hooks};

use super::held::Held;
use super::outbound::{Io, Outbound, Sent};

pub(super) struct Hooks {
    /// Of the default if `None`.
    pub(super) outbound: Option<Outbound>,
    pub(super) held: Held,
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        // At once, so that a guest cannot have more of these futures than connections.
        let outbound = self.outbound.get_or_insert_default();
        let Some(permit) = outbound.permit() else {
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        // Without the room of headers that were deleted, which nothing would count.
        *request.headers_mut() = request.headers().clone();
        let Some(under_way) = self.held.send(&request) else {
            outbound.refused();
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        Box::new(outbound.send(permit, under_way, request, options))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.held.chunk()
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        self.held.limits().body_chunk
    }

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        // Asked for each header that a guest sets.
        self.held.set();
        default_hooks().is_forbidden_header(name)
    }
}

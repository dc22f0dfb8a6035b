//! Where wasmtime asks.

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::Outbound;
use super::send::{Io, send};

pub(in crate::wasi) type Sent = Result<(http::Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        // At once, so that a guest cannot have more of these futures than connections.
        let Some(permit) = self.permit() else {
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        let (policy, io) = (self.policy.clone(), self.io.clone());
        let options = options.unwrap_or_default();
        Box::new(async move { send(&policy, &io, permit, request, options).await })
    }
}

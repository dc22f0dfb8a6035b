//! What wasi:http asks its host: where requests may go is up to [`Outbound`], how much may wait to be sent to
//! [`Held`].

use http::HeaderName;
use http::uri::Scheme;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use super::held::Held;
use super::outbound::{Io, Outbound, Sent};

pub(super) struct Hooks {
    pub(super) outbound: Outbound,
    pub(super) held: Held,
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        io: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let sending = self.held.send(request.headers());
        let sent = Box::into_pin(self.outbound.send_request(request, options, io));
        Box::new(async move {
            let (response, io) = sent.await?;
            let io: Io = Box::new(async move {
                let _sending = sending;
                Box::into_pin(io).await
            });
            Ok((response, io))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.held.chunk()
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        self.held.limits().body_chunk
    }

    // The rest is as `Outbound` has it.

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        self.held.set();
        self.outbound.is_forbidden_header(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        self.outbound.forbidden_header_filter()
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        self.outbound.is_supported_scheme(scheme)
    }

    fn set_host_header(&mut self) -> bool {
        self.outbound.set_host_header()
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        self.outbound.default_scheme()
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> p2::ErrorCode {
        self.outbound.p2_error_from_connect(error)
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> p2::ErrorCode {
        self.outbound.p2_error_from_tls(error)
    }

    fn p3_error_from_connect(&mut self, error: &std::io::Error) -> p3::ErrorCode {
        self.outbound.p3_error_from_connect(error)
    }

    fn p3_error_from_tls(&mut self, error: &std::io::Error) -> p3::ErrorCode {
        self.outbound.p3_error_from_tls(error)
    }
}

//! What wasi:http asks its host: where requests may go is up to [`Outbound`], how much may wait to be sent to
//! [`Held`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_hooks};

use super::held::{Held, Sending};
use super::outbound::{Io, Outbound, Sent};

/// The body of a response to a guest, which counts as under way until it is dropped.
struct UnderWay {
    body: WasiBody,
    _sending: Arc<Sending>,
}

impl Body for UnderWay {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
        let Some(sending) = self.held.send(&request) else {
            outbound.refused();
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        let sent = outbound.send(permit, request, options);
        Box::new(async move {
            let (response, io) = sent.await?;
            // What was read of the body is held for as long as the guest does not read it, be the connection gone or not.
            let with = Arc::clone(&sending);
            let response = response.map(|body| UnderWay { body, _sending: with }.boxed_unsync());
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

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        // Asked for each header that a guest sets.
        self.held.set();
        default_hooks().is_forbidden_header(name)
    }
}

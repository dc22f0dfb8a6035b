//! The body of a response to a guest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use crate::wasi::held::UnderWay;

/// A body that fails when nothing comes for too long.
pub(super) struct IncomingBody {
    incoming: Incoming,
    between_bytes: Duration,
    timeout: Pin<Box<Sleep>>,
    _under_way: Arc<UnderWay>,
}

impl IncomingBody {
    pub(super) fn new(
        incoming: Incoming,
        between_bytes: Duration,
        under_way: Arc<UnderWay>,
    ) -> Self {
        let timeout = Box::pin(tokio::time::sleep(between_bytes));
        Self { incoming, between_bytes, timeout, _under_way: under_way }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                this.timeout.as_mut().reset(Instant::now() + this.between_bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) if error.is_timeout() => {
                Poll::Ready(Some(Err(Error::HttpResponseTimeout)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Error::Hyper(error)))),
            Poll::Pending => {
                ready!(this.timeout.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

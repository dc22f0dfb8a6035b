//! A body that goes on from a guest, as it came or as the guest left it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::message::body_buffer::{BoxError, Incoming};
use crate::message::trailers::Trailers;

pub(crate) type Polled = Option<Result<Frame<Bytes>, BoxError>>;

/// What the next handler gets as the request's body: as it came, or as the guest left it.
pub struct RequestBody(Forward<Incoming>);

impl RequestBody {
    pub(crate) fn new(chunks: VecDeque<Bytes>, rest: Option<Incoming>, trailers: Trailers) -> Self {
        Self(Forward { chunks, rest, trailers })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}

/// What is at hand, then the rest, then trailers.
pub(crate) struct Forward<R> {
    pub(crate) chunks: VecDeque<Bytes>,
    pub(crate) rest: Option<R>,
    pub(crate) trailers: Trailers,
}

impl<R> Default for Forward<R> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), rest: None, trailers: Trailers::default() }
    }
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Forward<R> {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(rest) = &mut self.rest {
            match ready!(Pin::new(rest).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(frame)) => self.trailers.arrive(frame.into_trailers().ok()),
                Some(Err(error)) => {
                    self.rest = None;
                    self.trailers = Trailers::default();
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {}
            }
            self.rest = None;
        }
        self.trailers.arrive(None);
        Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
            && self.trailers.known().is_empty()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let here = self.chunks.iter().map(Bytes::len).sum::<usize>() as u64;
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(here));
        // From an exact one, HTTP/1.1 makes a content-length, after which there are no trailers.
        if !self.trailers.known().is_empty() {
            return hint;
        }
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(here)) {
            hint.set_upper(upper);
        }
        hint
    }
}

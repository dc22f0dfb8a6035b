//! A response's body, handed to hyper in pieces that are counted, and no faster than they are taken.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::request_body::WasCut;
use super::traffic::{Meter, Piece};
use crate::error::BoxError;

/// Empty frames that are passed over at one go.
const EMPTY: usize = 100;

pin_project! {
    /// The body of a response on its way to the client.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        inner: B,
        // What is left of a frame that was too long for one piece.
        rest: Bytes,
        meter: Meter,
        // Whether the request's body was cut, if it had one.
        cut: Option<WasCut>,
        broken: bool,
    }
}

/// Why a response broke off that a service sends well.
#[derive(Debug)]
struct RequestCut;

impl fmt::Display for RequestCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body was cut, as it came too slowly")
    }
}

impl std::error::Error for RequestCut {}

impl<B> ResponseBody<B> {
    pub(crate) fn new(inner: B, meter: Meter, cut: Option<WasCut>) -> Self {
        Self { inner, rest: Bytes::new(), meter, cut, broken: false }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let mut this = self.project();
        if *this.broken {
            return Poll::Ready(None);
        }
        ready!(this.meter.poll_room(cx));
        let mut empty = 0;
        // Nothing is sent of an empty piece, and it would have to be kept.
        while this.rest.is_empty() {
            if empty == EMPTY {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            empty += 1;
            let frame = ready!(this.inner.as_mut().poll_frame(cx));
            if this.cut.as_ref().is_some_and(WasCut::get) {
                *this.broken = true;
                return Poll::Ready(Some(Err(RequestCut.into())));
            }
            let Some(frame) = frame else { return Poll::Ready(None) };
            match frame.map_err(Into::into)?.into_data() {
                Ok(data) => *this.rest = data,
                Err(frame) => {
                    return Poll::Ready(Some(Ok(frame.map_data(|data| this.meter.piece(data)))));
                }
            }
        }
        let most = this.meter.piece_len();
        let piece = if this.rest.len() <= most {
            std::mem::take(this.rest)
        } else {
            this.rest.split_to(most)
        };
        Poll::Ready(Some(Ok(Frame::data(this.meter.piece(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.broken || (self.rest.is_empty() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Buf as _;
    use http::HeaderMap;
    use http_body_util::{BodyExt as _, Full};

    use super::super::traffic::{
        CONNECTION, Connection, PIECE_HTTP1, PIECE_HTTP2, STREAM, Traffic,
    };
    use super::*;

    type Body2 = ResponseBody<Full<Bytes>>;

    fn over_http2(connection: &Arc<Connection>, len: usize) -> Body2 {
        let meter = Meter::Http2(connection.open_stream());
        ResponseBody::new(Full::new(vec![0; len].into()), meter, None)
    }

    /// Takes pieces for as long as there are some.
    fn take(body: &mut Body2) -> VecDeque<Piece> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut pieces = VecDeque::new();
        while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut cx) {
            pieces.push_back(frame.unwrap().into_data().unwrap());
        }
        pieces
    }

    #[test]
    fn a_stream_has_so_much_under_way() {
        let traffic = Arc::new(Traffic::default());
        let connection = Connection::new(Arc::clone(&traffic));
        let mut body = over_http2(&connection, 1_000_000);
        let mut under_way = take(&mut body);
        let mut bytes: usize = under_way.iter().map(|piece| piece.remaining()).sum();
        assert!((STREAM - PIECE_HTTP2 - 2000..=STREAM).contains(&bytes), "{bytes}");
        assert!(traffic.measure().queued >= bytes);
        while under_way.pop_front().is_some() {
            let more = take(&mut body);
            bytes += more.iter().map(|piece| piece.remaining()).sum::<usize>();
            under_way.extend(more);
        }
        assert_eq!((bytes, traffic.measure().queued), (1_000_000, 0));
    }

    #[test]
    fn streams_share_what_the_connection_has() {
        let traffic = Arc::new(Traffic::default());
        let connection = Connection::new(Arc::clone(&traffic));
        let mut bodies: Vec<_> = (0..128).map(|_| over_http2(&connection, 1_000_000)).collect();
        let pieces: Vec<_> = bodies.iter_mut().map(take).collect();
        assert!(pieces.iter().all(|pieces| !pieces.is_empty()), "each has a piece");
        let queued = traffic.measure().queued;
        assert!((CONNECTION..CONNECTION + 129 * 17_000).contains(&queued), "{queued}");
        drop(pieces);
        assert_eq!(traffic.measure().queued, 0);
    }

    #[tokio::test]
    async fn what_goes_wakes_who_waits() {
        let connection = Connection::new(Arc::default());
        let (mut one, mut other) = (over_http2(&connection, 1_000_000), None);
        let mut under_way = take(&mut one);
        let waiting = tokio::spawn(async move { one.frame().await.unwrap().unwrap() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        other.replace(under_way.pop_front());
        drop(other);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn empty_frames_go_and_trailers_stay() {
        let frames = |n| (0..n).map(|_| Frame::data(Bytes::new()));
        let frames = frames(1000)
            .chain([Frame::data(Bytes::from_static(b"end"))])
            .chain(frames(10))
            .chain([Frame::trailers(HeaderMap::new())]);
        let connection = Connection::new(Arc::default());
        let inner = Frames(frames.collect());
        let mut body = ResponseBody::new(inner, Meter::Http1(connection), None);
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data.chunk(), b"end");
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.frame().await.is_none());
    }

    struct Frames(VecDeque<Frame<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    #[test]
    fn the_length_is_what_it_was() {
        let connection = Connection::new(Arc::default());
        let inner = Full::new(Bytes::from(vec![0; PIECE_HTTP1 + 1]));
        let mut body = ResponseBody::new(inner, Meter::Http1(connection), None);
        assert_eq!(body.size_hint().exact(), Some(PIECE_HTTP1 as u64 + 1));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let first = Pin::new(&mut body).poll_frame(&mut cx);
        assert!(first.is_ready() && !body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(1));
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready() && body.is_end_stream());
    }
}

//! One connection, from the accepted socket to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::Pacing;
use super::head_timer::HeadTimer;
use super::idle::{Next, Watch};
use super::pace::Rule;
use super::request_body::{BodyLimits, RequestBody};
use super::service::Served;
use super::streams::Streams;
use super::traffic::{Connection, Cut, Open, PIECE_HTTP2, Traffic};
use super::wire::Wire;
use crate::error::BoxError;

/// For a request head to arrive, and for the next request on a connection to begin.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// For the head of a request, in bytes.
const HEAD_SIZE: u32 = 64 * 1024;

/// For the headers of a request, in number.
const HEADERS: usize = 100;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// Bytes of one request's body that may come over HTTP/2 before they are read, and of all on a connection: hyper's
/// default. Half of the latter is what h2 lets the heads of small unread pieces take; beyond that, about 2000 pieces, it
/// ends the connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes of an HTTP/2 frame: the least there is.
const FRAME_SIZE: u32 = 16 * 1024;

/// Streams of a connection that were reset before they were seen.
const PENDING_RESETS: usize = 20;

/// Streams of a connection that we reset for errors of the peer, in its whole life.
const ERROR_RESETS: usize = 1024;

/// An HTTP/2 peer is asked for a sign of life this often, and has as long to give it.
const PING: Duration = Duration::from_secs(20);

/// For an HTTP/2 connection without a stream.
const IDLE: Duration = Duration::from_secs(60);

/// For response bytes to move.
const STALL: Duration = Duration::from_secs(30);

/// What the least rate is averaged over.
const GRACE: Duration = Duration::from_secs(30);

impl Pacing {
    fn of_requests(self) -> BodyLimits {
        let rule = Rule { rate: self.min_body_rate, grace: GRACE, stall: None };
        BodyLimits { rule, timeout: self.request_body_timeout }
    }

    fn of_responses(self) -> Rule {
        Rule { rate: self.min_body_rate, grace: GRACE, stall: Some(STALL) }
    }
}

/// How a connection speaks HTTP.
///
/// A half-closed HTTP/1.1 connection counts as gone: that is hyper's default, and what lets the departure of a client
/// be seen while its request runs.
fn protocol(streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(HeadTimer::new(HEAD_TIMEOUT))
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS)
        // The head must fit into the buffer whole.
        .max_buf_size(HEAD_SIZE as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_SIZE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(FRAME_SIZE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A piece must have gone before the next: the last one of a body is all that can outlive its guest.
        .max_send_buf_size(PIECE_HTTP2)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(ERROR_RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Serves one connection to its end; once `stopping` loses its sender, the end comes as soon as what runs is done.
pub(crate) async fn drive<T, S, B>(
    traffic: Arc<Traffic>,
    pacing: Pacing,
    (stream, peer): (T, SocketAddr),
    service: S,
    mut stopping: watch::Receiver<()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let _open = Open::new(&traffic);
    let shared = Connection::new(traffic);
    let service = Served::new(service, peer, pacing.of_requests(), Arc::clone(&shared));
    let writes = pacing.of_responses();
    let io = TokioIo::new(Wire::new(stream, HEAD_TIMEOUT, writes, Arc::clone(&shared)));
    let protocol = protocol(Streams::new(Arc::clone(&shared), writes));
    let mut connection = std::pin::pin!(protocol.serve_connection(io, service));
    let mut stopped = std::pin::pin!(async move { drop(stopping.changed().await) });
    let mut told = false;
    let mut watched: Option<Watched> = None;

    let result = std::future::poll_fn(|cx| {
        loop {
            // The connection goes first: a request that has arrived is seen before the connection is told to finish.
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            if !told && stopped.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            if watched.is_none() && shared.is_http2() {
                watched = Some(Watched::new(&shared, writes));
            }
            let Some(watched) = &mut watched else { return Poll::Pending };
            if watched.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match watched.watch.handle_timeout(Instant::now(), shared.view()) {
                Next::Look(at) => watched.sleep.as_mut().reset(at),
                Next::Finish(at) => {
                    shared.traffic().cut(Cut::Idle);
                    watched.sleep.as_mut().reset(at);
                    connection.as_mut().graceful_shutdown();
                }
                Next::End(Cut::Idle) => return Poll::Ready(None),
                Next::End(cut) => {
                    shared.traffic().cut(cut);
                    return Poll::Ready(None);
                }
            }
        }
    });
    match result.await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%peer, "connection ended early: {error}"),
        None => tracing::debug!(%peer, "connection ended: the peer does nothing, or takes nothing"),
    }
}

/// Looks at a connection now and then.
struct Watched {
    watch: Watch,
    sleep: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(connection: &Connection, rule: Rule) -> Self {
        // A stream that is too slow goes before all of its connection does.
        let rule = Rule { grace: rule.grace * 2, ..rule };
        let (watch, at) = Watch::new(IDLE, rule, Instant::now(), connection.view());
        Self { watch, sleep: Box::pin(tokio::time::sleep_until(at)) }
    }
}

#[cfg(test)]
mod tests;

//! One connection, from the accepted socket to its end.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use millpond::SourceAddr;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::{Service, ServiceExt as _};

use super::head_timer::HeadTimer;
use super::opening::Opening;

/// For a request head to arrive, and for the next request on a connection to begin.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// For the head of a request, in bytes.
const HEAD_SIZE: u32 = 64 * 1024;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// An HTTP/2 peer is asked for a sign of life this often, and has as long to give it.
const PING: Duration = Duration::from_secs(20);

/// How connections speak HTTP.
///
/// A half-closed HTTP/1.1 connection counts as gone: that is hyper's default, and what lets the departure of a client
/// be seen while its request runs.
pub(crate) fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(HEAD_TIMEOUT)
        // The head must fit into the buffer whole.
        .max_buf_size(HEAD_SIZE as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_SIZE)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Serves one connection to its end; once `stopping` loses its sender, the end comes as soon as what runs is done.
pub(crate) async fn drive<S, B>(
    protocol: Arc<auto::Builder<TokioExecutor>>,
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    mut stopping: watch::Receiver<()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    // Small writes of a streaming guest must not wait for each other. It fails only if the peer is gone.
    let _ = stream.set_nodelay(true);

    let service = service.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(SourceAddr(peer));
        request
    });
    let io = TokioIo::new(Opening::new(stream, HEAD_TIMEOUT));
    let mut protocol = auto::Builder::clone(&protocol);
    protocol.http1().timer(HeadTimer::new(HEAD_TIMEOUT));
    let mut connection =
        std::pin::pin!(protocol.serve_connection(io, TowerToHyperService::new(service)));

    let result = tokio::select! {
        // The connection goes first: a request that has arrived is seen before the connection is told to finish.
        biased;
        result = connection.as_mut() => result,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "connection ended early: {error}");
    }
}

//! The HTTP server: a TCP listener, and a task for each connection that speaks HTTP/1.1 or HTTP/2 without TLS.
//!
//! Everything a peer can make it hold is bounded: the number of connections (at the limit it stops accepting, and the
//! kernel's backlog fills), the size of a request head and the time to send it, the streams of one connection, what comes
//! unread and what is under way to it ([`traffic`]). And so is the time: bodies have to go at a least rate ([`pace`]), and a
//! connection ends that does not read, or has nothing to do ([`wire`], [`streams`], [`idle`]). An accept that fails is
//! tried again, so running out of file descriptors is a pause and not the end.
//!
//! Every request has the peer's address in its extensions, as the [`SourceAddr`](millpond::SourceAddr) that
//! middleware asks for.
//!
//! Shutting down goes in three steps: accept no more, tell every connection to finish (one that is idle closes at once),
//! and cut those that remain at the deadline.

mod accept_errors;
pub(crate) mod connection;
mod head_timer;
mod idle;
mod metered_body;
mod pace;
mod request_body;

mod service;
mod streams;
mod traffic;
mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tower::Service;

use crate::error::{BoxError, StartError};
use accept_errors::AcceptErrors;
pub(crate) use request_body::RequestBody;
pub(crate) use traffic::{Connections, Cut, Traffic};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;

/// The bounds that are the operator's to choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections held open at once.
    pub(crate) max_connections: usize,
    /// From the end of accepting to the cut.
    pub(crate) drain_timeout: Duration,
    pub(crate) pacing: Pacing,
}

/// How fast bodies must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pacing {
    /// Bytes a second that a client sends of a body that is waited for, and takes of one that waits; 0: any.
    pub(crate) min_body_rate: u64,
    /// For the whole body of a request to come; `None`: as long as it likes.
    pub(crate) request_body_timeout: Option<Duration>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { min_body_rate: 240, request_body_timeout: Some(Duration::from_secs(300)) }
    }
}

/// What became of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Accepted in all.
    pub(crate) accepted: u64,
    /// Of these, still open at the deadline and cut.
    pub(crate) cut: usize,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    traffic: Arc<Traffic>,
}

impl Listener {
    /// Binds; port 0 takes a free one. Call it within a tokio runtime.
    pub(crate) fn bind(addr: SocketAddr) -> Result<Self, StartError> {
        let bind = || {
            let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // On Unix it allows a restart while old connections linger; on Windows it would share the port.
            socket.set_reuseaddr(cfg!(unix))?;
            socket.bind(addr)?;
            let socket = socket.listen(BACKLOG)?;
            let addr = socket.local_addr()?;
            Ok(Self { socket, addr, traffic: Arc::default() })
        };
        bind().map_err(|error: io::Error| {
            let what = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "the address is in use; stop what listens there, or choose another".into()
                }
                io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
                io::ErrorKind::PermissionDenied => {
                    "permission denied; ports below 1024 may need privileges".into()
                }
                _ => error.to_string(),
            };
            StartError::failed(format!("cannot listen on {addr}: {what}"))
        })
    }

    /// Where it listens, with the real port.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What its connections are at, while it serves too.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Waits for one connection, closes it, and says who it was.
    pub(crate) async fn accept_once(self) -> SocketAddr {
        let (_, peer) = self.accept_one(&mut AcceptErrors::default()).await;
        peer
    }

    /// Serves until `shutdown` resolves and every connection has closed or been cut.
    pub(crate) async fn serve<S, B>(
        self,
        service: S,
        limits: Limits,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        // Dropping `stop` tells every connection to finish.
        let (stop, stopping) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut accepted = 0;
        let mut errors = AcceptErrors::default();
        let mut shutdown = std::pin::pin!(shutdown);

        loop {
            let (place, stream, peer) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = self.accept(&places, &mut errors) => accepted,
            };
            accepted += 1;
            let connection = connection::drive(
                self.traffic(),
                limits.pacing,
                (stream, peer),
                service.clone(),
                stopping.clone(),
            );
            connections.spawn(async move {
                connection.await;
                drop(place);
            });
        }

        drop((self.socket, stop));
        let finished = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        let cut = match tokio::time::timeout(limits.drain_timeout, finished).await {
            Ok(()) => 0,
            Err(_) => {
                while let Some(ended) = connections.try_join_next() {
                    report(ended);
                }
                let cut = connections.len();
                connections.shutdown().await;
                cut
            }
        };
        Outcome { accepted, cut }
    }

    /// A place first and a connection then: what is beyond the limit stays in the kernel. Safe to cancel.
    async fn accept(
        &self,
        places: &Arc<Semaphore>,
        errors: &mut AcceptErrors,
    ) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = self.accept_one(errors).await;
        (place, stream, peer)
    }

    async fn accept_one(&self, errors: &mut AcceptErrors) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // Small writes of a streaming guest must not wait for each other. It fails only if the peer is gone.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) => {
                    if let Some(pause) = errors.handle(&error, Instant::now()) {
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
    }
}

/// Errors of a connection are its own business; a panic is ours.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended in a panic: {error}");
    }
}

#[cfg(test)]
mod tests;

//! One connection, and requests on it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::PATIENCE;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, known beforehand.
    H2c,
}

/// A request body.
pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// One connection. Dropping it closes it.
pub struct Client {
    sender: Sender,
    addr: SocketAddr,
    local_addr: SocketAddr,
    connection: JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    H2c(http2::SendRequest<Body>),
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it came.
    pub body: Bytes,
    /// Its trailers, if it had any.
    pub trailers: Option<HeaderMap>,
    /// Whether the body broke off.
    pub broken: bool,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Client {
    /// Connects.
    pub async fn connect(addr: SocketAddr, protocol: Protocol) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a server listens");
        stream.set_nodelay(true).expect("a socket");
        let local_addr = stream.local_addr().expect("it is bound");
        let io = TokioIo::new(stream);
        let (sender, connection) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.expect("a handshake");
                (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
            }
            Protocol::H2c => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
                (Sender::H2c(sender), tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Self { sender, addr, local_addr, connection }
    }

    /// The client's end of it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A request for a path, to be finished with a body.
    pub fn request(&self, path: &str) -> http::request::Builder {
        match self.sender {
            Sender::Http1(_) => Request::builder().uri(path).header("host", self.addr.to_string()),
            Sender::H2c(_) => Request::builder().uri(format!("http://{}{path}", self.addr)),
        }
    }

    /// Sends a request. `Err`: the connection closed without a response head.
    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let response = async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::H2c(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        timeout(PATIENCE, response).await.expect("a response in good time")
    }

    /// GET, up to the response head.
    pub async fn head_of(&mut self, path: &str) -> Response<Incoming> {
        let request = self.request(path).body(empty()).expect("a good request");
        self.send(request).await.expect("a response")
    }

    /// GET, the whole answer.
    pub async fn get(&mut self, path: &str) -> Reply {
        whole(self.head_of(path).await).await
    }

    /// POST, the whole answer.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = self.request(path).method("POST").body(full(body)).expect("a good request");
        whole(self.send(request).await.expect("a response")).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// No body.
pub fn empty() -> Body {
    Empty::new().boxed()
}

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// Reads a response to its end, good or bad.
pub async fn whole(response: Response<Incoming>) -> Reply {
    let (parts, mut body) = response.into_parts();
    let mut reply = Reply {
        status: parts.status,
        headers: parts.headers,
        body: Bytes::new(),
        trailers: None,
        broken: false,
    };
    let mut bytes = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                Ok(Err(frame)) => reply.trailers = frame.into_trailers().ok(),
                Err(_) => {
                    reply.broken = true;
                    break;
                }
            }
        }
    };
    timeout(PATIENCE, read).await.expect("a body in good time");
    reply.body = bytes.into();
    reply
}

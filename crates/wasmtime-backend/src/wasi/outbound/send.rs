//! Sending a request of a guest. As wasmtime's `default_send_request`, but that it goes to an address that was checked,
//! that one timeout is for all of the way there, and that what a service can make the host hold is bounded.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use tokio::time::timeout;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::IncomingBody;
use super::connect::{self, Connection};
use super::destination;
use super::policy::{Denial, Policy};
use super::resolve::resolve;
use crate::wasi::guest_io::{ConnectionPermit, GuestIo};
use crate::wasi::held::UnderWay;

/// Of a guest that asks for none; wasmtime's.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes that a response head may have, and that are read ahead of the guest.
const BUFFER: usize = 64 * 1024;

/// What drives the connection once the head is there.
pub(in crate::wasi) type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Sends it, and returns the response head.
pub(super) async fn send(
    policy: &Policy,
    io: &GuestIo,
    (permit, under_way): (ConnectionPermit, Arc<UnderWay>),
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Io), Error> {
    let first_byte = options.first_byte_timeout.unwrap_or(TIMEOUT);
    let between_bytes = options.between_bytes_timeout.unwrap_or(TIMEOUT);
    let connect = options.connect_timeout.unwrap_or(TIMEOUT);

    let connection = open(policy, io, permit, request.uri());
    let connection = timeout(connect, connection).await.map_err(|_| Error::ConnectionTimeout)??;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER);
    // It does no more than to set up what drives the connection.
    let (mut sender, connection) = builder.handshake(TokioIo::new(connection)).await?;

    // Only a proxy is told the scheme and the authority.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let of_body = Arc::clone(&under_way);
    let answered = async move {
        let response = timeout(first_byte, sender.send_request(request)).await;
        let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(error)?;
        Ok(response.map(|body| IncomingBody::new(body, between_bytes, of_body).boxed_unsync()))
    };

    let mut answered = pin!(answered);
    let mut connection = Some(connection);
    let response = poll_fn(|cx| {
        if let Poll::Ready(answer) = answered.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        let Some(driver) = connection.as_mut() else { return Poll::Pending };
        let ended = ready!(Pin::new(driver).poll(cx));
        connection = None;
        match ended {
            Ok(()) => answered.as_mut().poll(cx),
            Err(failure) => Poll::Ready(Err(error(failure))),
        }
    });
    let response = response.await?;
    let driver = async move {
        let _under_way = under_way;
        match connection {
            Some(connection) => connection.await.map_err(error),
            None => Ok(()),
        }
    };
    Ok((response, Box::new(driver)))
}

/// Finds the host, checks each of its addresses, and connects to one that may be connected to.
async fn open(
    policy: &Policy,
    io: &GuestIo,
    permit: ConnectionPermit,
    uri: &Uri,
) -> Result<Connection, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    if authority.as_str().contains('@') {
        return Err(Error::HttpRequestUriInvalid);
    }
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    let host = destination::host(authority.host());
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let deny = |denial: Denial, address: Option<std::net::SocketAddr>| {
        io.denied();
        let address = address.map(tracing::field::display);
        tracing::debug!(?host, port, address, "a request of a guest is denied: {denial}");
        Error::HttpRequestDenied
    };
    policy.check_name(&host, port).map_err(|denial| deny(denial, None))?;

    let mut allowed = Vec::new();
    let mut denied = None;
    for address in resolve(&host, port).await? {
        match policy.check(&host, address) {
            Ok(()) => allowed.push(address),
            Err(denial) => denied = Some((denial, address)),
        }
    }
    if allowed.is_empty()
        && let Some((denial, address)) = denied
    {
        return Err(deny(denial, Some(address)));
    }
    let stream = connect::connect(&allowed).await?;
    if !tls {
        return Ok(Connection::plain(stream, permit));
    }
    Ok(Connection::tls(connect::secure(&host, stream).await?, permit))
}

/// What guests get to know of an error of the connection.
fn error(error: hyper::Error) -> Error {
    if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(u32::try_from(BUFFER).ok())
    } else {
        Error::Hyper(error)
    }
}

#[cfg(test)]
mod tests;

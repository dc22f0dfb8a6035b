//! The routes which are about bodies.

use std::io;

use wasip2::http::types::{IncomingBody, IncomingRequest, ResponseOutparam};

use crate::answer::{Body, read, sleep, start, text};
use crate::query::Query;

/// Streams the request's body back, and its trailers after it.
pub(crate) fn echo(request: IncomingRequest, out: ResponseOutparam) -> io::Result<()> {
    // `trailer` too: HTTP/1.1 servers send only the trailers that were announced.
    let headers: Vec<(&str, String)> = ["content-type", "trailer"]
        .into_iter()
        .flat_map(|name| request.headers().get(name).into_iter().map(move |value| (name, value)))
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let incoming = request.consume().expect("the body is taken once");
    let input = incoming.stream().expect("the stream is taken once");
    let mut body = start(out, 200, &headers);
    body.copy(&input)?;
    drop(input);

    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = trailers
        .get()
        .expect("trailers which are ready")
        .expect("trailers which are taken once")
        .map_err(io::Error::other)?;
    // A copy, since those which came in are immutable and belong to the request.
    body.finish(trailers.map(|trailers| trailers.clone()))
}

/// Reads the whole body and counts.
pub(crate) fn drain(request: IncomingRequest, out: ResponseOutparam) -> io::Result<()> {
    let incoming = request.consume().expect("the body is taken once");
    let input = incoming.stream().expect("the stream is taken once");
    let mut length = 0;
    while let Some(chunk) = read(&input)? {
        length += chunk.len();
    }
    text(out, 200, length.to_string())
}

/// Sends `n` bytes of a pattern, claiming a length if asked to.
pub(crate) fn bytes(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let n = query.number("n").unwrap_or(0);
    let chunk = query.number("chunk").unwrap_or(65536).max(1);
    let claimed = query.number("lie").or_else(|| (query.number("length") == Some(1)).then_some(n));
    let claimed = claimed.map(|length| length.to_string());
    let headers: Vec<(&str, &str)> =
        claimed.iter().map(|length| ("content-length", length.as_str())).collect();

    let mut body = start(out, 200, &headers);
    let mut sent = 0;
    while sent < n {
        let end = n.min(sent.saturating_add(chunk));
        let part: Vec<u8> = (sent..end).map(|i| (i % 251) as u8).collect();
        body.write(&part)?;
        sent = end;
    }
    body.finish(None)
}

/// Sends a head and the beginning of a body, and gives the server time to pass that on: what
/// comes next is not nice.
pub(crate) fn partial(out: ResponseOutparam) -> io::Result<Body> {
    let mut body = start(out, 200, &[]);
    body.write(b"partial\n")?;
    sleep(50);
    Ok(body)
}

//! The routes which are about bodies.

use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader};
use wasip3::wit_future;

use crate::answer::{Body, End, Gone, read, sleep, stream, text};
use crate::query::Query;

/// The parts of a request's body.
struct Incoming {
    stream: StreamReader<u8>,
    end: FutureReader<End>,
    /// Tells the host how we got on with the body. Dropped without a word it says: well.
    _verdict: FutureWriter<Result<(), ErrorCode>>,
}

fn consume(request: Request) -> Incoming {
    let (verdict, result) = wit_future::new(|| Ok(()));
    let (stream, end) = Request::consume_body(request, result);
    Incoming { stream, end, _verdict: verdict }
}

/// Streams the request's body back, and its trailers after it.
pub(crate) fn echo(request: Request) -> Response {
    // `trailer` too: HTTP/1.1 servers send only the trailers that were announced.
    let incoming_headers = request.get_headers();
    let headers: Vec<(&str, String)> = ["content-type", "trailer"]
        .into_iter()
        .flat_map(|name| incoming_headers.get(name).into_iter().map(move |value| (name, value)))
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let mut incoming = consume(request);
    stream(200, &headers, async move |mut body| {
        body.copy(&mut incoming.stream).await?;
        // Trailers or an error, both are passed on.
        body.end(incoming.end.await).await
    })
}

/// Reads the whole body and counts.
pub(crate) async fn drain(request: Request) -> Response {
    let mut incoming = consume(request);
    let mut length = 0;
    while let Some(chunk) = read(&mut incoming.stream).await {
        length += chunk.len();
    }
    text(200, length.to_string())
}

/// Sends `n` bytes of a pattern, claiming a length if asked to.
pub(crate) fn bytes(query: &Query) -> Response {
    let n = query.number("n").unwrap_or(0);
    let chunk = query.number("chunk").unwrap_or(65536).max(1);
    let claimed = query.number("lie").or_else(|| (query.number("length") == Some(1)).then_some(n));
    let claimed = claimed.map(|length| length.to_string());
    let headers: Vec<(&str, &str)> =
        claimed.iter().map(|length| ("content-length", length.as_str())).collect();

    stream(200, &headers, async move |mut body| {
        let mut sent = 0;
        while sent < n {
            let end = n.min(sent.saturating_add(chunk));
            let part: Vec<u8> = (sent..end).map(|i| (i % 251) as u8).collect();
            body.write(part).await?;
            sent = end;
        }
        body.finish(None).await
    })
}

/// Sends the beginning of a body, and gives the server time to pass that on: what comes next is
/// not nice.
pub(crate) async fn partial(body: &mut Body) -> Result<(), Gone> {
    body.write("partial\n").await?;
    sleep(50).await;
    Ok(())
}

//! Requests which the guest itself makes, and the errors of wasi:http.

use std::io;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, OutgoingRequest, ResponseOutparam,
    Scheme,
};

use crate::answer::{start, text};
use crate::query::{Query, split_url};

/// Makes a GET request and streams its answer back.
pub(crate) fn fetch(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let Some((scheme, authority, path)) = query.get("url").and_then(split_url) else {
        return text(out, 400, "url has to be an absolute URL\n");
    };
    let response = match get(scheme, authority, path) {
        Ok(response) => response,
        Err(code) => return text(out, 502, format!("{code:?}\n")),
    };
    let incoming = response.consume().expect("the body is taken once");
    let input = incoming.stream().expect("the stream is taken once");
    let mut body = start(out, response.status(), &[]);
    body.copy(&input)?;
    body.finish(None)
}

/// Sends n requests, waits for ms, and tells how many were refused by then.
pub(crate) fn fetch_many(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let Some((scheme, authority, path)) = query.get("url").and_then(split_url) else {
        return text(out, 400, "url has to be an absolute URL\n");
    };
    let send = |_| send(scheme, authority, path);
    let sent: Vec<_> = (0..query.number("n").unwrap_or(1)).map(send).collect();
    crate::answer::sleep(query.number("ms").unwrap_or(0));
    let refused = sent.into_iter().filter(|sent| match sent {
        Err(code) => matches!(code, ErrorCode::ConnectionLimitReached),
        Ok(future) => {
            future.subscribe().ready();
            matches!(future.get(), Some(Ok(Err(ErrorCode::ConnectionLimitReached))))
        }
    });
    text(out, 200, format!("{}\n", refused.count()))
}

fn get(scheme: &str, authority: &str, path: &str) -> Result<IncomingResponse, ErrorCode> {
    let response = send(scheme, authority, path)?;
    response.subscribe().block();
    response.get().expect("an answer which is ready").expect("an answer which is taken once")
}

fn send(scheme: &str, authority: &str, path: &str) -> Result<FutureIncomingResponse, ErrorCode> {
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let request = OutgoingRequest::new(Fields::new());
    request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;

    outgoing_handler::handle(request, None)
}

/// An error code by its name in WIT.
pub(crate) fn error_code(name: &str) -> Option<ErrorCode> {
    Some(match name {
        "dns-timeout" => ErrorCode::DnsTimeout,
        "connection-refused" => ErrorCode::ConnectionRefused,
        "http-request-denied" => ErrorCode::HttpRequestDenied,
        "internal-error" => ErrorCode::InternalError(Some("asked for".to_owned())),
        "loop-detected" => ErrorCode::LoopDetected,
        "http-request-body-size" => ErrorCode::HttpRequestBodySize(None),
        _ => return None,
    })
}

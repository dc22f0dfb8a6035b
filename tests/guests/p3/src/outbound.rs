//! Requests which the guest itself makes, and the errors of wasi:http.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_future;

use crate::answer::{stream, text};
use crate::query::{Query, split_url};

/// Makes a GET request and streams its answer back.
pub(crate) async fn fetch(query: &Query) -> Response {
    let Some((scheme, authority, path)) = query.get("url").and_then(split_url) else {
        return text(400, "url has to be an absolute URL\n");
    };
    let response = match get(scheme, authority, path).await {
        Ok(response) => response,
        Err(code) => return text(502, format!("{code:?}\n")),
    };
    let status = response.get_status_code();
    let (verdict, result) = wit_future::new(|| Ok(()));
    let (mut input, end) = Response::consume_body(response, result);
    stream(status, &[], async move |mut body| {
        body.copy(&mut input).await?;
        let end = end.await;
        drop(verdict);
        // The trailers stay here, as their announcement did; an error goes on.
        body.end(end.map(|_| None)).await
    })
}

async fn get(scheme: &str, authority: &str, path: &str) -> Result<Response, ErrorCode> {
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    let (request, _transmitted) = Request::new(Fields::new(), None, trailers, None);
    drop(no_trailers);
    request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    client::send(request).await
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

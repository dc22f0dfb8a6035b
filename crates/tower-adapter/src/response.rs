//! What a client sees when no guest answers.
//!
//! | error | status | headers |
//! | --- | --- | --- |
//! | overloaded, queue timeout, start timeout, resources exhausted, instance ended | 503 | `Retry-After` |
//! | draining | 503 | `Retry-After`, `Connection: close` (HTTP/1) |
//! | request timeout | 504 | |
//! | trap, exit, host panic, no response, instantiation failed | 500 | |
//! | the guest answered with an error code | by the code | |
//! | upstream failed | 502 | |
//! | bad request | 400 | |
//! | body too large, head too large | 413, 431 | |
//!
//! Each carries `Proxy-Status` ([RFC 9209]), so that a caller can tell it from a guest's own; the
//! body is one line of text. The cause (a trap and its backtrace) goes to the log and to the
//! embedder, never to the client.
//!
//! [RFC 9209]: https://www.rfc-editor.org/rfc/rfc9209

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::Full;
use millpond_pool_core::{Error, ErrorKind};

/// The header that tells Millpond's own answers from a guest's. What a guest says under this name is not passed on.
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The response that tells a client of this HTTP version what went wrong.
///
/// ```
/// use http::{StatusCode, Version};
/// use millpond_pool_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Overloaded);
/// let response = millpond_tower_adapter::response::from_error(&error, Version::HTTP_11);
/// assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
/// assert_eq!(response.headers()["retry-after"], "1");
/// assert_eq!(
///     response.headers()["proxy-status"],
///     r#"millpond; error=connection_limit_reached; details="overloaded""#
/// );
/// ```
pub fn from_error(error: &Error, version: Version) -> Response<Full<Bytes>> {
    let kind = error.kind();
    let mut response = Response::new(Full::from(format!("{}\n", kind.as_str())));
    *response.status_mut() =
        StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(status) = HeaderValue::try_from(proxy_status(kind, error.status())) {
        headers.insert(PROXY_STATUS, status);
    }
    if unavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if kind == ErrorKind::Draining && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What HEAD gets in place of [`from_error`]'s response: its length, and no body. hyper takes the body
/// off for HTTP/1, but not for HTTP/2.
pub fn without_body(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response.map(|_| Full::default())
}

/// The error types are RFC 9209's, section 2.3.
fn proxy_status(kind: ErrorKind, status: u16) -> String {
    let error = match kind {
        ErrorKind::Overloaded | ErrorKind::ResourcesExhausted => "connection_limit_reached",
        ErrorKind::QueueTimeout | ErrorKind::StartTimeout => "connection_timeout",
        ErrorKind::Draining | ErrorKind::Retired => "destination_unavailable",
        ErrorKind::RequestTimeout => "http_response_timeout",
        ErrorKind::Upstream => "http_response_incomplete",
        ErrorKind::BadRequest | ErrorKind::BodyTooLarge | ErrorKind::HeadTooLarge => {
            "http_request_error"
        }
        ErrorKind::GuestError => match status {
            403 => "http_request_denied",
            400..500 => "http_request_error",
            504 => "http_response_timeout",
            502 | 503 => "destination_unavailable",
            508 => "proxy_loop_detected",
            _ => "proxy_internal_error",
        },
        _ => "proxy_internal_error",
    };
    format!("millpond; error={error}; details=\"{}\"", kind.as_str())
}

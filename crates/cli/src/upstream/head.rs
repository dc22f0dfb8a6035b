//! The heads of requests and responses on their way through a proxy (RFC 9110, section 7.6, and RFC 9112).
//!
//! Fields that concern one connection only are removed, both ways. Without `Upgrade`, neither side switches to another
//! protocol. The upstream learns which client sent a request, and for which host. Such fields in the incoming request
//! come from a trusted proxy: the ingress has removed those of all other clients.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{Request, Response, Version};
use http_body::Body;
use millpond::{Error, ErrorKind, SourceAddr, ingress};

use crate::config::origin::Origin;

/// What concerns the connection, whether `Connection` names it or not.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The request as the upstream is to get it.
///
/// # Errors
///
/// [`ErrorKind::BadRequest`] if it has no host, several, or a malformed one; with the status 501 if its body comes in
/// a coding other than `chunked`.
pub(crate) fn for_upstream<B: Body>(
    request: Request<B>,
    origin: &Origin,
) -> Result<Request<B>, Error> {
    let host = ingress::authority(&request)?;
    let host = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    let (mut from, body) = request.into_parts();
    let takes_trailers = lists(&from.headers, &TE, "trailers");
    if !leave_connection(&mut from.headers) {
        let error = bad("Transfer-Encoding", "expected chunked and nothing else");
        return Err(error.with_status(501));
    }
    let uri = origin.join(from.uri.path_and_query());
    let uri = uri.map_err(|error| bad("the request target", error))?;
    let headers = &mut from.headers;
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert_with(|| host.clone());
        // In place of what came: over HTTP/2 the host is in the URI.
        headers.insert(HOST, host);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(SourceAddr(addr)) = from.extensions.get() {
        append(headers, &addr.ip().to_canonical().to_string());
    }
    let length_is_known =
        body.size_hint().exact().is_some() || headers.contains_key(CONTENT_LENGTH);
    if !length_is_known && !body.is_end_stream() {
        // Without it, hyper takes a GET for one without a body.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = from.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = from.headers;
    Ok(request)
}

/// The response as the client is to get it.
///
/// # Errors
///
/// [`ErrorKind::Upstream`] if its body comes in a coding other than `chunked`, or in several lengths.
pub(crate) fn for_client<B>(mut response: Response<B>) -> Result<Response<B>, Error> {
    if !leave_connection(response.headers_mut()) {
        let error = Error::new(ErrorKind::Upstream);
        return Err(error.with_source("its Transfer-Encoding is not chunked and nothing else"));
    }
    if !settle_length(response.headers_mut()) {
        let error = Error::new(ErrorKind::Upstream);
        return Err(error.with_source("its Content-Length is not one number"));
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// Removes the fields that concern the connection. Returns whether the coding of the body is known here.
fn leave_connection(headers: &mut HeaderMap) -> bool {
    let named: Vec<HeaderName> =
        tokens(headers, &CONNECTION).filter_map(|name| name.parse().ok()).collect();
    let mut codings = tokens(headers, &TRANSFER_ENCODING);
    let is_chunked = codings.next().map(|coding| coding.eq_ignore_ascii_case("chunked"));
    let is_known = is_chunked.unwrap_or(true) && codings.next().is_none();
    drop(codings);
    if headers.contains_key(TRANSFER_ENCODING) {
        // It overrides the length (RFC 9112, section 6.3). Both together may be an attempt at request smuggling.
        headers.remove(CONTENT_LENGTH);
    }
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    is_known
}

/// Reduces the length of a body to one plain value, since servers disagree about any other form. Returns `false` if
/// it is not a length.
fn settle_length(headers: &mut HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return true };
    let is_plain = |value: &HeaderValue| {
        let digits = value.as_bytes();
        let zero_first = digits.len() > 1 && digits[0] == b'0';
        !digits.is_empty() && !zero_first && digits.iter().all(u8::is_ascii_digit)
    };
    if values.next().is_none() && is_plain(first) {
        return true;
    }
    let is_digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let length = |text: &str| Some(text).filter(is_digits)?.parse::<u64>().ok();
    let mut lengths = tokens(headers, &CONTENT_LENGTH).map(length);
    let Some(Some(length)) = lengths.next() else { return false };
    let is_one = lengths.all(|other| other == Some(length));
    drop(lengths);
    headers.insert(CONTENT_LENGTH, length.into());
    is_one
}

/// The elements of a header that is a list; what is no text is none.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim)).filter(|token| !token.is_empty())
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|other| other.eq_ignore_ascii_case(token))
}

/// Adds an address to those that `X-Forwarded-For` has, all in one line.
fn append(headers: &mut HeaderMap, addr: &str) {
    let mut list = Vec::new();
    for before in headers.get_all(FORWARDED_FOR) {
        list.extend_from_slice(before.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(addr.as_bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(FORWARDED_FOR, list);
    }
}

fn bad(what: &str, why: impl ToString) -> Error {
    let source = format!("{what}: {}", why.to_string());
    Error::new(ErrorKind::BadRequest).with_source(source)
}

#[cfg(test)]
mod tests;

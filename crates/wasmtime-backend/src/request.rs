//! What a request must look like before a guest may see it.
//!
//! A guest learns its own host from the request's URI, and over HTTP/1.1 that is in the `Host`
//! header; so the URI is made absolute first. A request that cannot be is refused here, before it
//! is submitted: it reaches no guest and costs no instance.

use http::header::{HOST, HeaderMap};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use millpond_pool_core::{Error, ErrorKind};

/// Makes the URI absolute.
///
/// # Errors
///
/// [`ErrorKind::BadRequest`] without a host (RFC 9112, section 3.2), with several, or with one
/// that is malformed.
pub(crate) fn normalize<B>(mut request: Request<B>) -> Result<Request<B>, Error> {
    let authority = authority(&request)?;
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let scheme = request.uri().scheme().cloned().unwrap_or(Scheme::HTTP);
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    *request.uri_mut() = uri.build().map_err(|error| bad("the request target", error))?;
    Ok(request)
}

fn authority<B>(request: &Request<B>) -> Result<Authority, Error> {
    let host = single_host(request.headers())?;
    // An absolute URI goes before the header (RFC 9112, section 3.2.2).
    if let Some(authority) = request.uri().authority() {
        return plain(authority.clone(), "the request target");
    }
    match host {
        Some(host) => {
            let authority = host.parse().map_err(|error| bad("the Host header", error))?;
            plain(authority, "the Host header")
        }
        // HTTP/1.0 knows no Host.
        None if request.version() < Version::HTTP_11 => Ok(Authority::from_static("localhost")),
        None => Err(bad("the Host header", "there is none")),
    }
}

/// A host and perhaps a port: no user, and no port that is none.
fn plain(authority: Authority, what: &str) -> Result<Authority, Error> {
    let rest = authority.as_str().strip_prefix(authority.host());
    match rest {
        Some("") => Ok(authority),
        // RFC 3986, section 3.2.3: a port may be empty.
        Some(rest) if rest == ":" || authority.port_u16().is_some() => Ok(authority),
        _ => Err(bad(what, "expected HOST or HOST:PORT")),
    }
}

fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(bad("the Host header", "there are several"));
    }
    let host = host.to_str().map_err(|error| bad("the Host header", error))?;
    Ok(Some(host))
}

fn bad(what: &str, why: impl ToString) -> Error {
    let source = format!("{what}: {}", why.to_string());
    Error::new(ErrorKind::BadRequest).with_source(source)
}

/// What a guest learns when its caller's body breaks off.
pub(crate) fn body_error(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> wasmtime_wasi_http::Error {
    wasmtime_wasi_http::Error::InternalError(Some(error.into().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut builder = Request::builder().version(version).uri(uri);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).unwrap()
    }

    fn uri(version: Version, uri: &str, hosts: &[&str]) -> Result<String, ErrorKind> {
        normalize(request(version, uri, hosts))
            .map(|request| request.uri().to_string())
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_uri_becomes_absolute() {
        let expected = Ok("http://example.com:81/a?b=c".to_owned());
        assert_eq!(uri(Version::HTTP_11, "/a?b=c", &["example.com:81"]), expected);
        assert_eq!(uri(Version::HTTP_2, "http://example.com:81/a?b=c", &[]), expected);
        let other_host = uri(Version::HTTP_11, "http://example.com:81/a?b=c", &["other"]);
        assert_eq!(other_host, expected, "the URI goes before the header");
        assert_eq!(uri(Version::HTTP_10, "/", &[]), Ok("http://localhost/".to_owned()));
    }

    #[test]
    fn a_request_without_one_good_host_is_bad() {
        assert_eq!(uri(Version::HTTP_11, "/", &[]), Err(ErrorKind::BadRequest));
        assert_eq!(uri(Version::HTTP_11, "/", &["a", "b"]), Err(ErrorKind::BadRequest));
        assert_eq!(uri(Version::HTTP_11, "/", &["a b"]), Err(ErrorKind::BadRequest));
        for host in ["", "user@a", "a:b", "a:99999", "a/b"] {
            assert_eq!(uri(Version::HTTP_11, "/", &[host]), Err(ErrorKind::BadRequest), "{host}");
        }
    }
}

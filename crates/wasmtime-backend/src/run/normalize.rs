//! What a request must look like before a guest may see it.
//!
//! A guest learns its own host from the request's URI, and over HTTP/1.1 that is in the `Host`
//! header; so the URI is made absolute first. A request that cannot be is refused here, before it
//! is submitted: it reaches no guest and costs no instance.

use http::Request;
use http::uri::{Authority, Scheme};
use millpond_pool_core::Error;
use millpond_tower_adapter::ingress::{authority, set_authority};

/// Makes the URI absolute.
///
/// # Errors
///
/// [`ErrorKind::BadRequest`](millpond_pool_core::ErrorKind::BadRequest) without an authority, with several, or with one
/// that is malformed, as [`authority`] says.
pub(crate) fn normalize<B>(mut request: Request<B>) -> Result<Request<B>, Error> {
    // HTTP/1.0 knows no Host.
    let authority = authority(&request)?;
    let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
    set_authority(request.uri_mut(), authority, Scheme::HTTP)?;
    Ok(request)
}

/// What a guest learns when its caller's body breaks off.
pub(crate) fn body_error(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> wasmtime_wasi_http::Error {
    wasmtime_wasi_http::Error::InternalError(Some(error.into().to_string()))
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use http::{Request, Version};
    use millpond_pool_core::ErrorKind;

    use super::normalize;

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
        assert_eq!(other_host, Err(ErrorKind::BadRequest), "URI and header agree");
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

//! The one authority of a request: what its target and its `Host` say together.

use http::header::{HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use millpond_pool_core::Error;

use super::bad;

/// Returns the authority that a request is for, or `None` for one of HTTP/1.0 that names none.
///
/// An HTTP/1.1 request names it in `Host`, one of HTTP/2 in `:authority`, which is in the URI; a request in absolute
/// form, or a sloppy HTTP/2 client, in both. A handler that reads the one and a handler that reads the other must not
/// disagree, so those that differ are refused and not, as RFC 9112, section 3.2.2, allows, decided for the target.
/// They are the same if nothing but the case of the host and a default port tells them apart.
///
/// # Errors
///
/// [`ErrorKind::BadRequest`](millpond_pool_core::ErrorKind::BadRequest) without an authority, with several, and with one
/// that is not `HOST` or `HOST:PORT`.
///
/// ```
/// use http::Request;
/// use millpond_tower_adapter::ingress::authority;
///
/// let request = Request::get("http://a.example/").header("host", "A.example:80").body(())?;
/// assert_eq!(authority(&request).unwrap().unwrap(), "a.example");
/// let request = Request::get("http://a.example/").header("host", "b.example").body(())?;
/// assert_eq!(authority(&request).unwrap_err().status(), 400);
/// # Ok::<(), http::Error>(())
/// ```
pub fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, Error> {
    let host = single_host(request.headers())?;
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return match host {
            Some(host) => {
                let authority = Authority::try_from(host.as_bytes());
                plain(authority.map_err(|error| bad("the Host header", error))?, "the Host header")
                    .map(Some)
            }
            None if request.version() < Version::HTTP_11 => Ok(None),
            None => Err(bad("the Host header", "there is none")),
        };
    };
    let authority = plain(authority.clone(), "the request target")?;
    match host {
        Some(host) if host.as_bytes() != authority.as_str().as_bytes() => {
            let host = Authority::try_from(host.as_bytes());
            let host = host.map_err(|error| bad("the Host header", error))?;
            let host = plain(host, "the Host header")?;
            if !is_same(&authority, &host, uri.scheme()) {
                return Err(bad("the Host header", "it is not that of the request target"));
            }
        }
        _ => {}
    }
    Ok(Some(authority))
}

/// Puts an authority into a request's URI, and makes that absolute: with this scheme, if it has none.
///
/// # Errors
///
/// [`ErrorKind::BadRequest`](millpond_pool_core::ErrorKind::BadRequest) if no URI can be made of them.
pub fn set_authority(uri: &mut Uri, authority: Authority, scheme: Scheme) -> Result<(), Error> {
    let before = uri.authority().map(Authority::as_str);
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if before == Some(authority.as_str()) && uri.scheme().is_some() && path.starts_with(['/', '*'])
    {
        return Ok(());
    }
    let mut parts: Parts = std::mem::take(uri).into_parts();
    parts.scheme.get_or_insert(scheme);
    parts.authority = Some(authority);
    let path = parts.path_and_query.take();
    parts.path_and_query = Some(match path {
        None => PathAndQuery::from_static("/"),
        // A URI with a query and no path: in a request line it would be no target at all.
        Some(query) if query.as_str().starts_with('?') => {
            let path = PathAndQuery::try_from(format!("/{}", query.as_str()));
            path.map_err(|error| bad("the request target", error))?
        }
        Some(path) => path,
    });
    *uri = Uri::from_parts(parts).map_err(|error| bad("the request target", error))?;
    Ok(())
}

/// Returns an authority that is a host and perhaps a port: no user, and no port that is none.
fn plain(authority: Authority, what: &str) -> Result<Authority, Error> {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host);
    let is_plain = match port {
        Some("") => true,
        // RFC 3986, section 3.2.3: a port may be empty.
        Some(":") => true,
        Some(port) => {
            let digits = port[1..].bytes().all(|byte| byte.is_ascii_digit());
            digits && authority.port_u16().is_some()
        }
        None => false,
    };
    if host.is_empty() || !is_plain {
        return Err(bad(what, "expected HOST or HOST:PORT"));
    }
    Ok(authority)
}

fn is_same(one: &Authority, other: &Authority, scheme: Option<&Scheme>) -> bool {
    let default = if scheme == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

fn single_host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Error> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("the Host header", "there are several"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use http::uri::Scheme;
    use http::{Request, Uri, Version};

    use super::{authority, set_authority};

    fn of(version: Version, uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let authority = authority(&request.body(()).unwrap()).ok()?;
        Some(authority.map_or_else(String::new, |authority| authority.to_string()))
    }

    #[test]
    fn target_and_host_say_it_together() {
        for (uri, hosts, expected) in [
            ("/a", &["a.example:81"][..], Some("a.example:81")),
            ("http://a.example:81/", &[], Some("a.example:81")),
            ("http://a.example/", &["a.example"], Some("a.example")),
            ("http://A.example/", &["a.EXAMPLE:80"], Some("A.example")),
            ("http://a.example:/", &["a.example"], Some("a.example:")),
            ("https://a.example/", &["a.example:443"], Some("a.example")),
            ("http://[::1]:80/", &["[::1]"], Some("[::1]:80")),
            ("http://a.example/", &["b.example"], None),
            ("http://a.example/", &["a.example."], None),
            ("http://a.example/", &["a.example:443"], None),
            ("https://a.example/", &["a.example:80"], None),
            ("http://a.example:81/", &["a.example:82"], None),
            ("http://a.example/", &[""], None),
            ("http://a.example/", &["a.example", "a.example"], None),
        ] {
            assert_eq!(of(Version::HTTP_2, uri, hosts).as_deref(), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_user_and_a_port_that_is_none_are_bad() {
        for host in
            ["", "user@a", "a:b", "a:+1", "a:99999", "a/b", "a b", ":80", "[::1", "a,b:1:2", "a?"]
        {
            assert_eq!(of(Version::HTTP_11, "/", &[host]), None, "{host}");
        }
        assert_eq!(of(Version::HTTP_2, "http://user@a/", &[]), None);
    }

    #[test]
    fn only_http_1_0_may_name_none() {
        assert_eq!(of(Version::HTTP_10, "/", &[]).as_deref(), Some(""));
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(of(version, "/", &[]), None, "{version:?}");
        }
    }

    #[test]
    fn a_target_becomes_absolute() {
        for (before, after) in [
            ("/a?b", "http://host/a?b"),
            ("https://other/a", "https://host/a"),
            ("http://other?b", "http://host/?b"),
        ] {
            let mut uri: Uri = before.parse().unwrap();
            set_authority(&mut uri, "host".parse().unwrap(), Scheme::HTTP).unwrap();
            assert_eq!(uri.to_string(), after);
            assert!(uri.path_and_query().unwrap().as_str().starts_with('/'));
        }
    }
}

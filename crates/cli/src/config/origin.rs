//! Where the upstream is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::config::values::deserialize_from_text;

/// `http://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(Authority);

impl Origin {
    /// Its host, and the port if there is one.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a connection to it would arrive at one of these listeners, as far as its address tells: a name is not
    /// looked up, and what addresses this machine has is not asked.
    pub(crate) fn is_one_of(&self, listeners: &[SocketAddr]) -> bool {
        let host = self.0.host().trim_start_matches('[').trim_end_matches(']');
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let Ok(ip) = host.parse::<IpAddr>() else { return false };
        // To connect to an unspecified address is to connect to loopback.
        let ip = match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let port = self.0.port_u16().unwrap_or(80);
        listeners.iter().filter(|listener| listener.port() == port).any(|listener| {
            let own = listener.ip().to_canonical();
            // One for all of IPv6 is for all of IPv4 too.
            let takes_all = own.is_unspecified() && (own.is_ipv6() || ip.is_ipv4());
            own == ip || (takes_all && ip.is_loopback())
        })
    }

    /// What this path and query are there.
    pub(crate) fn join(&self, path_and_query: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        let path_and_query = path_and_query.cloned();
        let path_and_query = path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.0.clone());
        uri.path_and_query(path_and_query).build()
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected http://HOST[:PORT], such as http://127.0.0.1:3000";
        let uri: Uri = text.parse().map_err(|_| expected)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(format!("https upstreams are not supported, {expected}")),
            _ => return Err(expected.into()),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(format!("{expected}, without a path or a query"));
        }
        let authority = uri.authority().ok_or(expected)?;
        // Nothing but a host, and a port that is one.
        let rest = authority.as_str().strip_prefix(authority.host());
        let plain = match (rest, authority.port_u16()) {
            (Some(""), _) => true,
            (Some(_), Some(port)) => port > 0,
            _ => false,
        };
        if authority.host().is_empty() || !plain {
            return Err(expected.into());
        }
        Ok(Self(authority.clone()))
    }
}

deserialize_from_text!(Origin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_perhaps_a_port() {
        for (text, authority) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://app.internal/", "app.internal"),
            ("HTTP://[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), authority);
        }
    }

    #[test]
    fn finds_a_listener_in_any_spelling() {
        let is_at = |origin: &str, listener: &str| {
            let listeners = ["127.0.0.1:9".parse().unwrap(), listener.parse().unwrap()];
            origin.parse::<Origin>().unwrap().is_one_of(&listeners)
        };
        for origin in ["http://127.0.0.1:80", "http://LocalHost", "http://[::ffff:127.0.0.1]"] {
            assert!(is_at(origin, "127.0.0.1:80") && is_at(origin, "[::]:80"), "{origin}");
            assert!(!is_at(origin, "127.0.0.1:81") && !is_at(origin, "192.0.2.1:80"), "{origin}");
        }
        assert!(is_at("http://0.0.0.0:80", "127.0.0.1:80"));
        assert!(is_at("http://192.0.2.1:80", "192.0.2.1:80"));
        assert!(!is_at("http://192.0.2.2:80", "0.0.0.0:80"));
        assert!(!is_at("http://[::1]:80", "0.0.0.0:80") && is_at("http://[::1]:80", "[::]:80"));
        assert!(!is_at("http://app.internal", "0.0.0.0:80"));
    }

    #[test]
    fn an_error_says_what_was_expected() {
        let expected = "expected http://HOST[:PORT], such as http://127.0.0.1:3000";
        let error = |text: &str| text.parse::<Origin>().unwrap_err();
        for text in [
            "",
            "127.0.0.1:3000",
            "localhost",
            "http://",
            "http://:3000",
            "http:///path",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://me@a",
            "ftp://a",
            "/path",
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert_eq!(error("https://a"), format!("https upstreams are not supported, {expected}"));
        for text in ["http://a/path", "http://a?query", "http://a/?", "http://a/#fragment"] {
            assert_eq!(error(text), format!("{expected}, without a path or a query"), "{text}");
        }
    }
}

//! A place that is named as allowed: a host, or a range of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::uri::Authority;
use ipnet::IpNet;

/// A host, with or without a port; or a range of addresses.
///
/// ```
/// use millpond_wasmtime_backend::Destination;
///
/// let api: Destination = "api.example.com".parse().unwrap(); // any port
/// let local: Destination = "[::1]:3000".parse().unwrap();
/// let cluster: Destination = "10.0.0.0/8".parse().unwrap(); // any port
/// assert!("http://example.com".parse::<Destination>().is_err());
/// ```
///
/// A host is compared as guests write it. A range has whatever resolves into it, so guests may look up any name once
/// there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// In lower case, without brackets.
    Host {
        host: String,
        port: Option<u16>,
    },
    Range(IpNet),
}

impl Destination {
    /// Whether it is this host, as written, at this port.
    pub(super) fn is_host(&self, name: &str, at: u16) -> bool {
        match &self.0 {
            Kind::Host { host, port } => host == name && port.is_none_or(|port| port == at),
            Kind::Range(_) => false,
        }
    }

    /// The range, if it is one.
    pub(super) fn range(&self) -> Option<&IpNet> {
        match &self.0 {
            Kind::Host { .. } => None,
            Kind::Range(range) => Some(range),
        }
    }
}

impl FromStr for Destination {
    type Err = ParseDestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(range) = text.parse::<IpNet>() {
            return Ok(Self(Kind::Range(range)));
        }
        let wrong = || ParseDestinationError(text.to_owned());
        let authority: Authority = text.parse().map_err(|_| wrong())?;
        let rest = &text[authority.host().len()..];
        let plain = rest.is_empty() || (rest.starts_with(':') && authority.port_u16().is_some());
        if authority.host().is_empty() || !plain {
            return Err(wrong());
        }
        let host = host(authority.host());
        Ok(Self(Kind::Host { host, port: authority.port_u16() }))
    }
}

/// One spelling for a host: in lower case, an address as Rust writes it and without brackets.
pub(super) fn host(text: &str) -> String {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => bare.to_ascii_lowercase(),
    }
}

/// Text that names no destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDestinationError(String);

impl fmt::Display for ParseDestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no destination: expected HOST, HOST:PORT or ADDRESS/BITS", self.0)
    }
}

impl std::error::Error for ParseDestinationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in
            ["", "http://a", "a/b", "a:99999", "a:", "user@host", "a b", "10.0.0.0/33", "::/129"]
        {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (text, name) in [
            ("Example.com", "example.com"),
            ("[::1]", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("[::FFFF:127.0.0.1]", "::ffff:127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            let destination: Destination = text.parse().unwrap();
            assert!(destination.is_host(name, 80), "{text}");
            assert_eq!(host(text), name);
        }
    }
}

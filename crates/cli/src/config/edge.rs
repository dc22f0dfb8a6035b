//! The edge: whom a request comes from, and what is passed on of what it and its response say of that.

use std::str::FromStr;

use http::HeaderName;
use millpond::Ingress;
use millpond::ingress::Network;

use crate::config::settings::Settings;
use crate::config::values::deserialize_from_text;

/// A proxy, or a network of them, that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proxy(pub(crate) Network);

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error: millpond::ingress::ParseNetworkError| error.to_string())
    }
}

/// A header that responses are to lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stripped(pub(crate) HeaderName);

impl FromStr for Stripped {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name: HeaderName = text.parse().map_err(|_| "expected the name of a header")?;
        // Without the first, a body has no end; the others are the server's own.
        if ["content-length", "transfer-encoding", "connection", "trailer"].contains(&name.as_str())
        {
            return Err(format!("'{name}' says how a body is sent, expected another header"));
        }
        Ok(Self(name))
    }
}

deserialize_from_text!(Proxy, Stripped);

/// What each request passes first.
pub(crate) fn ingress(settings: &Settings) -> Ingress {
    Ingress::new()
        .trust(settings.trust_proxy.iter().copied())
        .strip_response_header(settings.strip_response_header.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::{Proxy, Stripped};

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(
            "proxy.example".parse::<Proxy>().unwrap_err(),
            "expected an address or a network, such as 127.0.0.1 or 10.0.0.0/8"
        );
        assert_eq!("a b".parse::<Stripped>().unwrap_err(), "expected the name of a header");
        assert_eq!(
            "Content-Length".parse::<Stripped>().unwrap_err(),
            "'content-length' says how a body is sent, expected another header"
        );
    }
}

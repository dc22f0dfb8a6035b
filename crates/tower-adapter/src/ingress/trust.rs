//! The proxies whose word for whom a request is from is believed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Request;
use ipnet::{IpNet, Ipv4Net};

use super::Rules;

/// A network of addresses, or a single one: `10.0.0.0/8`, `2001:db8::/32`, `127.0.0.1`.
///
/// An IPv4 address is the same however it is written: `::ffff:10.0.0.1`, as a socket for both versions has it, is in
/// `10.0.0.0/8`.
///
/// ```
/// use millpond_tower_adapter::ingress::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert!(!network.contains("192.0.2.1".parse().unwrap()));
/// # Ok::<(), millpond_tower_adapter::ingress::ParseNetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// What is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseNetworkError(());

impl Network {
    /// Returns whether an address is in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(&addr.to_canonical())
    }
}

impl Rules {
    /// Whether a request comes from a proxy that is trusted.
    pub(super) fn trusts<B>(&self, request: &Request<B>) -> bool {
        if self.trusted.is_empty() {
            return false;
        }
        let peer = (self.peer)(request.extensions());
        peer.is_some_and(|peer| self.trusted.iter().any(|network| network.contains(peer)))
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let error = |_| ParseNetworkError(());
        let net = if text.contains('/') {
            text.parse().map_err(|_| ParseNetworkError(()))?
        } else {
            IpNet::from(text.parse::<IpAddr>().map_err(error)?)
        };
        Ok(Self(match net {
            IpNet::V6(net) if net.prefix_len() >= 96 => match net.addr().to_ipv4_mapped() {
                Some(addr) => {
                    let length = net.prefix_len() - 96;
                    Ipv4Net::new(addr, length).map_err(|_| ParseNetworkError(()))?.into()
                }
                None => net.into(),
            },
            net => net,
        }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ParseNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address or a network, such as 127.0.0.1 or 10.0.0.0/8")
    }
}

impl std::error::Error for ParseNetworkError {}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn an_address_is_in_its_network() {
        for (network, addr, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("::ffff:10.0.0.0/104", "10.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "10.0.0.1", false),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("0.0.0.0/0", "::ffff:192.0.2.1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(addr.parse().unwrap()), is_in, "{network} {addr}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "host", "10.0.0.0/", "10.0.0.1:80", "::/129"] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().starts_with("expected an address or a network"), "{text}");
        }
    }
}

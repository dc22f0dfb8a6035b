//! Where guests may send requests, decided on the address that is connected to.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use super::address::{self, Views};
use super::destination::Destination;

/// What is allowed.
#[derive(Clone, Debug, Default)]
pub(in crate::wasi) struct Policy {
    /// Where the process itself listens.
    own: Vec<SocketAddr>,
    /// Anywhere, if `None`.
    allowed: Option<Vec<Destination>>,
    deny_private: bool,
}

/// Why a request may not go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    Own,
    NotAllowed,
    LinkLocal,
    Private,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "it is an address of the server itself",
            Self::NotAllowed => "it is not among the allowed destinations",
            Self::LinkLocal => "it is link-local, and not named as allowed",
            Self::Private => "it is private, and not named as allowed",
        })
    }
}

impl Policy {
    pub(in crate::wasi) fn allow(&mut self, destination: Destination) {
        self.allowed.get_or_insert_default().push(destination);
    }

    pub(in crate::wasi) fn deny_others(&mut self) {
        self.allowed.get_or_insert_default();
    }

    pub(in crate::wasi) fn deny_private(&mut self) {
        self.deny_private = true;
    }

    pub(in crate::wasi) fn deny_address(&mut self, address: SocketAddr) {
        self.own.push(address);
    }

    /// Whether a name may be looked up at all: a question to the resolver tells others something, too.
    pub(super) fn check_name(&self, host: &str, port: u16) -> Result<(), Denial> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        if allowed.iter().any(|to| to.is_host(host, port) || to.range().is_some()) {
            return Ok(());
        }
        Err(Denial::NotAllowed)
    }

    /// Whether a request for this host, as written, may go to this address.
    pub(super) fn check(&self, host: &str, to: SocketAddr) -> Result<(), Denial> {
        let views = Views::of(to.ip());
        if views.iter().any(|ip| self.own.iter().any(|own| reaches(*own, ip, to.port()))) {
            return Err(Denial::Own);
        }
        let allowed = self.allowed.as_deref().unwrap_or_default();
        if allowed.iter().any(|other| other.is_host(host, to.port())) {
            return Ok(());
        }
        let ranges = allowed.iter().filter_map(Destination::range);
        if self.allowed.is_some() && !ranges.clone().any(|range| range.contains(&views.address)) {
            return Err(Denial::NotAllowed);
        }
        // A range that is wider than the special one does not name it.
        let named = |ip: IpAddr, special: IpNet| {
            ranges.clone().any(|range| {
                special.contains(range) && (range.contains(&ip) || range.contains(&views.address))
            })
        };
        for ip in views.iter() {
            if let Some(special) = address::link_local(ip)
                && !named(ip, special)
            {
                return Err(Denial::LinkLocal);
            }
            if self.deny_private
                && let Some(special) = address::private(ip)
                && !named(ip, special)
            {
                return Err(Denial::Private);
            }
        }
        Ok(())
    }
}

/// Whether a connection to this address and port arrives at a listener.
fn reaches(listener: SocketAddr, ip: IpAddr, port: u16) -> bool {
    if listener.port() != port {
        return false;
    }
    // Connecting to it, the system takes loopback instead.
    if ip.is_unspecified() {
        return true;
    }
    match listener.ip().to_canonical() {
        own if own.is_unspecified() => ip.is_loopback() || is_local(ip),
        own => own == ip,
    }
}

/// Whether this machine has this address: whether a socket can be bound to it. Asked each time, as addresses come and
/// go. What cannot be found out counts as local.
fn is_local(ip: IpAddr) -> bool {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}

#[cfg(test)]
mod tests;

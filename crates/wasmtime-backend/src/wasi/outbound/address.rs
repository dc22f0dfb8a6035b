//! What an address is: link-local, private, and which others it stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// Where clouds keep credentials, among others. `fd00:ec2::254` is the one outside of the link-local ranges.
const LINK_LOCAL: [&str; 3] = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"];

/// What is no public unicast address (IANA's special-purpose registries, RFC 6890 and its updates).
const PRIVATE: [&str; 30] = [
    "0.0.0.0/8",        // this network; Linux takes 0.0.0.0 for loopback
    "10.0.0.0/8",       // private use
    "100.64.0.0/10",    // carrier-grade NAT
    "127.0.0.0/8",      // loopback
    "172.16.0.0/12",    // private use
    "192.0.0.0/24",     // protocol assignments
    "192.0.2.0/24",     // documentation
    "192.88.99.0/24",   // 6to4 relays
    "192.168.0.0/16",   // private use
    "198.18.0.0/15",    // benchmarks
    "198.51.100.0/24",  // documentation
    "203.0.113.0/24",   // documentation
    "224.0.0.0/4",      // multicast
    "240.0.0.0/4",      // reserved, and broadcast
    "168.63.129.16/32", // Azure's host
    "::/128",           // unspecified
    "::1/128",          // loopback
    "::/96",            // IPv4-compatible
    "::ffff:0:0:0/96",  // IPv4-translated
    "64:ff9b:1::/48",   // NAT64 of one's own
    "100::/64",         // discard only
    "100:0:0:1::/64",   // dummy prefix
    "2001::/23",        // protocol assignments: Teredo, benchmarks, ORCHID
    "2001:db8::/32",    // documentation
    "2002::/16",        // 6to4
    "3fff::/20",        // documentation
    "5f00::/16",        // segment routing
    "fc00::/7",         // unique local
    "fec0::/10",        // site-local
    "ff00::/8",         // multicast
];

static SPECIAL: LazyLock<[Vec<IpNet>; 2]> = LazyLock::new(|| {
    let read = |texts: &[&str]| {
        texts.iter().map(|text| text.parse().expect("the tables are tested")).collect()
    };
    [read(&LINK_LOCAL), read(&PRIVATE)]
});

/// The link-local range that has this address.
pub(super) fn link_local(address: IpAddr) -> Option<IpNet> {
    range_of(&SPECIAL[0], address)
}

/// The private range that has this address, or the link-local one.
pub(super) fn private(address: IpAddr) -> Option<IpNet> {
    range_of(&SPECIAL[1], address).or_else(|| link_local(address))
}

fn range_of(ranges: &[IpNet], address: IpAddr) -> Option<IpNet> {
    ranges.iter().copied().find(|range| range.contains(&address))
}

/// An address as one may see it: itself, and those that are written into it and that a translator on the way would go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Views {
    /// Itself; what is mapped from IPv4 is an IPv4 address.
    pub(super) address: IpAddr,
    embedded: [Option<Ipv4Addr>; 2],
}

impl Views {
    pub(super) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let embedded = match address {
            IpAddr::V4(_) => [None; 2],
            IpAddr::V6(address) => embedded(address),
        };
        Self { address, embedded }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = IpAddr> {
        let embedded = self.embedded.into_iter().flatten();
        std::iter::once(self.address).chain(embedded.map(IpAddr::V4))
    }
}

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let segments = address.segments();
    let at = |i: usize| {
        let [a, b] = segments[i].to_be_bytes();
        let [c, d] = segments[i + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // IPv4-compatible, not :: and ::1.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 2],
        [0, 0, 0, 0, 0, 0, ..] => [Some(at(6)), None],
        // IPv4-translated (SIIT).
        [0, 0, 0, 0, 0xffff, 0, ..] => [Some(at(6)), None],
        // NAT64, the well-known prefix and the local one with its usual length of 96 bits.
        [0x64, 0xff9b, 0 | 1, ..] => [Some(at(6)), None],
        // 6to4.
        [0x2002, ..] => [Some(at(1)), None],
        // Teredo: the server, and the client in its complement.
        [0x2001, 0, ..] => [Some(at(2)), Some(Ipv4Addr::from(!at(6).to_bits()))],
        // ISATAP.
        [.., 0 | 0x200, 0x5efe, _, _] => [Some(at(6)), None],
        _ => [None; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn special_ranges_are_known() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "169.254.169.254",
            "::",
            "::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "100::1",
            "fec0::1",
            "168.63.129.16",
        ] {
            assert!(private(ip(text)).is_some(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
        ] {
            assert!(private(ip(text)).is_none(), "{text}");
        }
        for text in [
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
        ] {
            assert!(link_local(ip(text)).is_some(), "{text}");
        }
        for text in ["169.253.0.1", "fec0::1", "fd00:ec2::253", "127.0.0.1"] {
            assert!(link_local(ip(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn embedded_addresses_are_seen() {
        for (text, embedded) in [
            ("::ffff:127.0.0.1", &["127.0.0.1"][..]),
            ("::127.0.0.1", &["::127.0.0.1", "127.0.0.1"]),
            ("::ffff:0:127.0.0.1", &["::ffff:0:127.0.0.1", "127.0.0.1"]),
            ("64:ff9b::127.0.0.1", &["64:ff9b::127.0.0.1", "127.0.0.1"]),
            ("64:ff9b:1::169.254.169.254", &["64:ff9b:1::169.254.169.254", "169.254.169.254"]),
            ("2002:7f00:1::", &["2002:7f00:1::", "127.0.0.1"]),
            ("2001:0:7f00:1::f5ff:fffe", &["2001:0:7f00:1::f5ff:fffe", "127.0.0.1", "10.0.0.1"]),
            ("2001:470::5efe:7f00:1", &["2001:470::5efe:7f00:1", "127.0.0.1"]),
            ("::1", &["::1"]),
            ("::", &["::"]),
            ("2606:4700::1111", &["2606:4700::1111"]),
        ] {
            let views: Vec<_> = Views::of(ip(text)).iter().collect();
            let expected: Vec<_> = embedded.iter().map(|text| ip(text)).collect();
            assert_eq!(views, expected, "{text}");
        }
    }
}

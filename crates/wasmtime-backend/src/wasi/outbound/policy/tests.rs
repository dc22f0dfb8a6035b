//! The policy against spellings of one's own, link-local, private and other addresses.

use std::net::ToSocketAddrs as _;

use super::*;

const OWN: u16 = 8080;

fn policy(allowed: &[&str], own: &[&str]) -> Policy {
    let mut policy = Policy::default();
    for destination in allowed {
        policy.allow(destination.parse().unwrap());
    }
    for address in own {
        policy.deny_address(address.parse().unwrap());
    }
    policy
}

/// What becomes of a request, with what the resolver of this machine makes of the host. The verdict on the first
/// address; none where it does not resolve.
fn check(policy: &Policy, host: &str, port: u16) -> Option<Result<(), Denial>> {
    let host = super::super::destination::host(host);
    if let Err(denial) = policy.check_name(&host, port) {
        return Some(Err(denial));
    }
    let first = (host.as_str(), port).to_socket_addrs().ok()?.next()?;
    Some(policy.check(&host, first))
}

/// Spellings of loopback, some of which only getaddrinfo understands.
const LOOPBACK: [&str; 21] = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "0.0.0.0",
    "0",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0.0.0.0]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
];

#[test]
fn own_addresses_are_denied_however_spelled() {
    for allowed in [&[][..], &["127.0.0.1:8080", "localhost", "0.0.0.0/0", "::/0", "127.0.0.1/32"]]
    {
        let policy = policy(allowed, &["127.0.0.1:8080", "[::1]:8080"]);
        for host in LOOPBACK.into_iter().chain(["[::1]", "[::]", "[0:0:0:0:0:0:0:1]"]) {
            let verdict = check(&policy, host, OWN);
            let literal =
                host.starts_with('[') || ["127.0.0.1", "localhost", "0.0.0.0"].contains(&host);
            if verdict.is_none() && !literal {
                continue; // No resolver here that understands it.
            }
            let expected = match verdict {
                // A list denies what it does not name before it is looked up.
                Some(Err(Denial::NotAllowed)) if !allowed.is_empty() => Denial::NotAllowed,
                _ => Denial::Own,
            };
            assert_eq!(verdict, Some(Err(expected)), "{host}, {allowed:?}");
        }
    }
}

#[test]
fn another_port_of_loopback_is_reachable() {
    let policy = policy(&[], &["127.0.0.1:8080", "[::1]:8080"]);
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.0.0.2"] {
        assert_eq!(check(&policy, host, OWN + 1), Some(Ok(())), "{host}");
    }
    assert_eq!(check(&policy, "127.0.0.2", OWN), Some(Ok(())), "nothing of ours listens there");
}

#[test]
fn an_unspecified_listener_is_everywhere() {
    for own in ["0.0.0.0:8080", "[::]:8080", "[::ffff:0.0.0.0]:8080"] {
        let policy = policy(&["0.0.0.0/0", "::/0"], &[own]);
        for host in LOOPBACK.into_iter().chain(["127.0.0.2", "127.255.255.254", "[::1]", "[::]"]) {
            let Some(verdict) = check(&policy, host, OWN) else { continue };
            assert_eq!(verdict, Err(Denial::Own), "{host} {own}");
        }
        // TEST-NET-1 is no address of this machine. Nothing is sent there.
        assert_eq!(check(&policy, "192.0.2.1", OWN), Some(Ok(())), "{own}");
        assert_eq!(check(&policy, "127.0.0.2", OWN + 1), Some(Ok(())), "{own}");
        // An address of this machine, if it has a route to anywhere.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            let local = socket.local_addr().unwrap().ip().to_string();
            assert_eq!(check(&policy, &local, OWN), Some(Err(Denial::Own)), "{local} {own}");
        }
    }
}

#[test]
fn a_listener_is_on_its_address_alone() {
    let policy = policy(&[], &["192.0.2.7:8080"]);
    for host in ["192.0.2.7", "[::ffff:192.0.2.7]", "[64:ff9b::192.0.2.7]", "0.0.0.0"] {
        assert_eq!(check(&policy, host, OWN), Some(Err(Denial::Own)), "{host}");
    }
    for host in ["192.0.2.8", "127.0.0.1", "[::1]"] {
        assert_eq!(check(&policy, host, OWN), Some(Ok(())), "{host}");
    }
}

#[test]
fn link_local_has_to_be_named() {
    let metadata = [
        "169.254.169.254",
        "169.254.0.1",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fe80::1]",
        "[febf::1]",
        "[fd00:ec2::254]",
    ];
    for allowed in [&[][..], &["0.0.0.0/0", "::/0"]] {
        let policy = policy(allowed, &[]);
        for host in metadata {
            let Some(verdict) = check(&policy, host, 80) else { continue };
            assert_eq!(verdict, Err(Denial::LinkLocal), "{host}, {allowed:?}");
        }
    }
    let named = policy(&["169.254.169.254:80", "fe80::/64", "[fd00:ec2::254]"], &[]);
    for host in ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]"] {
        assert_eq!(check(&named, host, 80), Some(Ok(())), "{host}");
    }
    assert_eq!(check(&named, "169.254.169.254", 81), Some(Err(Denial::NotAllowed)));
    assert_eq!(check(&named, "169.254.169.253", 80), Some(Err(Denial::NotAllowed)));
    let range = policy(&["169.254.169.0/24"], &[]);
    assert_eq!(check(&range, "169.254.169.254", 80), Some(Ok(())));
}

#[test]
fn private_addresses_can_be_denied() {
    let mut policy = policy(&[], &[]);
    policy.deny_private();
    for host in LOOPBACK.into_iter().chain([
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "[fc00::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[64:ff9b::10.0.0.1]",
        "[::ffff:10.0.0.1]",
    ]) {
        let Some(verdict) = check(&policy, host, 80) else { continue };
        assert_eq!(verdict, Err(Denial::Private), "{host}");
    }
    for host in ["1.1.1.1", "[2606:4700::1111]", "[64:ff9b::8.8.8.8]"] {
        assert_eq!(check(&policy, host, 80), Some(Ok(())), "{host}");
    }
}

#[test]
fn what_is_named_may_be_private() {
    let mut policy = policy(&["10.1.0.0/16", "localhost:3000", "0.0.0.0/0"], &[]);
    policy.deny_private();
    for (host, port, verdict) in [
        ("10.1.2.3", 80, Ok(())),
        ("localhost", 3000, Ok(())),
        ("localhost", 3001, Err(Denial::Private)),
        ("10.2.0.1", 80, Err(Denial::Private)),
        ("127.0.0.1", 3000, Err(Denial::Private)),
        ("1.1.1.1", 80, Ok(())),
        ("[2606:4700::1111]", 80, Err(Denial::NotAllowed)),
    ] {
        let first = check(&policy, host, port);
        // localhost may be ::1 first, which is a matter of its name all the same.
        let known = host == "localhost" && port == 3001 && first == Some(Err(Denial::NotAllowed));
        assert!(known || first == Some(verdict), "{host}:{port} {first:?}");
    }
}

#[test]
fn a_list_is_by_host_as_written() {
    let some = policy(&["Example.com", "127.0.0.1:3000", "[::1]:80"], &[]);
    let check = |host: &str, port| some.check_name(&super::super::destination::host(host), port);
    for (host, port) in
        [("example.com", 80), ("EXAMPLE.com", 8443), ("127.0.0.1", 3000), ("[0::1]", 80)]
    {
        assert_eq!(check(host, port), Ok(()), "{host}:{port}");
    }
    for (host, port) in [
        ("127.0.0.1", 80),
        ("[::1]", 443),
        ("example.com.evil.net", 80),
        ("evil.net", 80),
        ("localhost", 3000),
        ("2130706433", 3000),
    ] {
        assert_eq!(check(host, port), Err(Denial::NotAllowed), "{host}:{port}");
    }
    let mut none = Policy::default();
    assert_eq!(none.check_name("anywhere", 80), Ok(()));
    none.deny_others();
    assert_eq!(none.check_name("anywhere", 80), Err(Denial::NotAllowed));
}

#[test]
fn a_name_goes_where_it_is_checked() {
    // What a name resolves to at the check is what counts, not the name.
    let policy = policy(&["rebound.example"], &["127.0.0.1:8080"]);
    let to = |text: &str| text.parse().unwrap();
    assert_eq!(policy.check("rebound.example", to("127.0.0.1:8080")), Err(Denial::Own));
    assert_eq!(policy.check("rebound.example", to("[::ffff:127.0.0.1]:8080")), Err(Denial::Own));
    assert_eq!(policy.check("rebound.example", to("192.0.2.1:8080")), Ok(()));
}

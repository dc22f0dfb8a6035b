use super::*;

fn error<T: FromStr<Err = String> + fmt::Debug>(text: &str) -> String {
    text.parse::<T>().unwrap_err()
}

#[test]
fn durations() {
    let read = |text: &str| text.parse::<Time>().map(|time| time.0);
    for (text, expected) in [
        ("500ms", Duration::from_millis(500)),
        ("2s", Duration::from_secs(2)),
        ("5m", Duration::from_secs(300)),
        ("1h", Duration::from_secs(3600)),
        ("1m 30s", Duration::from_secs(90)),
        ("7us", Duration::from_micros(7)),
        ("7μs", Duration::from_micros(7)),
        ("7µs", Duration::from_micros(7)),
        ("9ns", Duration::from_nanos(9)),
        ("10", Duration::from_secs(10)),
        ("0", Duration::ZERO),
        ("0s", Duration::ZERO),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
    for text in [
        "",
        "s",
        "-1s",
        "2 fortnights",
        "1e9",
        "18446744073709551615",
        "101y",
        "99999999999999999999s",
    ] {
        assert_eq!(
            error::<Time>(text),
            "expected a duration such as 500ms, 2s or 5m (a plain number is in seconds)",
            "{text}"
        );
    }
    assert_eq!("1ms".parse(), Ok(NonZeroTime(Duration::from_millis(1))));
    assert_eq!(
        error::<NonZeroTime>("0ms"),
        "expected a duration above zero, such as 500ms, 2s or 5m"
    );
}

#[test]
fn sizes() {
    for (text, expected) in [
        ("64KiB", 64 << 10),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1gib", 1 << 30),
        ("1TiB", 1 << 40),
        ("100kB", 100_000),
        ("3GB", 3_000_000_000),
        ("65536", 65536),
        ("65536B", 65536),
        ("1_000_000", 1_000_000),
        ("0x10000", 65536),
    ] {
        assert_eq!(text.parse(), Ok(Size(expected)), "{text}");
    }
    for text in ["", "MiB", "-64MiB", "1.5GiB", "64M", "64 pages", "99999999999TiB", "0xyz"] {
        assert_eq!(
            error::<Size>(text),
            "expected a size such as 64MiB, 1GiB or a number of bytes",
            "{text}"
        );
    }
    for text in ["0", "64", "63KiB"] {
        assert_eq!(
            error::<Size>(text),
            "expected at least 64KiB, one page of WebAssembly memory, such as 64MiB",
            "{text}"
        );
    }
}

#[test]
fn numbers() {
    assert_eq!("1".parse(), Ok(Count(1)));
    for text in ["0", "-1", "many", "1.5", ""] {
        assert_eq!(error::<Count>(text), "expected a whole number of at least 1", "{text}");
    }
    assert_eq!("0".parse(), Ok(QueueLength(0)));
    assert_eq!(
        error::<QueueLength>("-1"),
        "expected a whole number of requests (0: nothing waits)"
    );
    assert_eq!("0".parse(), Ok(Spares(0)));
    assert_eq!(error::<Spares>("x"), "expected a whole number of instances (0: none)");
    assert_eq!("1024".parse(), Ok(Threads(1024)));
    for text in ["0", "1025", "x"] {
        assert_eq!(error::<Threads>(text), "expected a whole number from 1 to 1024", "{text}");
    }
}

#[test]
fn addresses() {
    assert_eq!("[::1]:0".parse::<Address>().unwrap().0.to_string(), "[::1]:0");
    for text in ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:65536"] {
        assert_eq!(
            error::<Address>(text),
            "expected IP:PORT, such as 127.0.0.1:8080 or [::1]:8080 (port 0: any free one)",
            "{text}"
        );
    }
}

#[test]
fn environment_variables() {
    let read = |text: &str| text.parse::<EnvVar>().map(|var| (var.name, var.value));
    assert_eq!(read("A"), Ok(("A".into(), None)));
    assert_eq!(read("A="), Ok(("A".into(), Some(String::new()))));
    assert_eq!(read("A=b=c"), Ok(("A".into(), Some("b=c".into()))));
    assert_eq!(read("=b"), Err("expected NAME or NAME=VALUE".into()));
    assert_eq!(read(""), Err("expected NAME or NAME=VALUE".into()));
}

#[test]
fn directories() {
    let read = |text: &str| text.parse::<Dir>().map(|dir| (dir.host, dir.guest));
    assert!("a::/b::ro".parse::<Dir>().unwrap().read_only);
    assert!(!"a::/b".parse::<Dir>().unwrap().read_only);
    assert_eq!(read("a/b"), Ok(("a/b".into(), "a/b".into())));
    assert_eq!(read("a::/b"), Ok(("a".into(), "/b".into())));
    for text in ["", "a::", "::b"] {
        assert_eq!(
            read(text),
            Err("expected HOST, HOST::GUEST or HOST::GUEST::ro, such as ./static::/static::ro"
                .into()),
            "{text}"
        );
    }
}

#[test]
fn outbound_hosts() {
    for (text, host, port) in [
        ("api.example.com", "api.example.com", None),
        ("API.example.com:443", "api.example.com", Some(443)),
        ("127.0.0.1:80", "127.0.0.1", Some(80)),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[FE80::1]:8080", "fe80::1", Some(8080)),
        ("10.0.0.0/8", "10.0.0.0/8", None),
        ("fd00::/8", "fd00::/8", None),
    ] {
        let expected = Outbound { host: host.into(), port };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for text in [
        "",
        ":443",
        "a:",
        "a:0",
        "a:65536",
        "https://a",
        "a/b",
        "10.0.0.0/33",
        "*.a",
        "[a]:1",
        "[::1]1",
        "a b",
    ] {
        assert_eq!(
            error::<Outbound>(text),
            "expected HOST, HOST:PORT or ADDRESS/BITS, such as api.example.com:443 or 10.0.0.0/8, without scheme, path or wildcard",
            "{text}"
        );
    }
}

use http::header::{CONTENT_LENGTH, HOST, TE};
use http::{HeaderMap, Request, Version};

use crate::SourceAddr;
use crate::ingress::Ingress;

fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(uri).body(()).unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// What is left of these headers, beside the host.
fn left(ingress: &Ingress, headers: &[(&str, &str)]) -> Result<Vec<String>, u16> {
    let mut request = request("/", &[&[("host", "a.example")], headers].concat());
    request.extensions_mut().insert(SourceAddr("[::ffff:192.0.2.1]:4711".parse().unwrap()));
    ingress.admit(&mut request).map_err(|error| error.status())?;
    let left = |headers: &HeaderMap| {
        let lines = headers.iter().filter(|(name, _)| *name != HOST);
        let mut lines: Vec<_> =
            lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    };
    Ok(left(request.headers()))
}

#[test]
fn what_is_about_the_connection_goes() {
    let left = left(
        &Ingress::new(),
        &[
            ("connection", "x-one, keep-alive,,UPGRADE"),
            ("connection", "X-Two, close, te"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy", "http://elsewhere"),
            ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ("transfer-encoding", "Chunked"),
            ("transfer_encoding", "chunked"),
            ("expect", "100-Continue"),
            ("te", "gzip"),
            ("trailer", "x-checksum"),
            ("upgrade", "websocket"),
        ],
    );
    assert_eq!(left.unwrap(), ["trailer: x-checksum", "x-three: 3"]);
}

#[test]
fn connection_takes_no_end_to_end_field() {
    for name in [
        "host",
        "Content-Length",
        "content-type",
        "authorization",
        "cookie",
        "X-Forwarded-For",
        "x-real-ip",
        "expect",
        "via",
    ] {
        for names in [name.to_owned(), format!("close, {name}")] {
            // Also where it is not there: it may have been, and gone.
            let left = left(&Ingress::new(), &[("connection", &names)]);
            assert_eq!(left, Err(400), "{name}");
        }
    }
    assert_eq!(left(&Ingress::new(), &[("connection", "a b")]), Err(400));
}

#[test]
fn more_fields_than_a_head_may_have_are_431() {
    let fields: Vec<_> = (0..100).map(|n| format!("x-{n}")).collect();
    let fields: Vec<_> = fields.iter().map(|name| (name.as_str(), "")).collect();
    // The host is one of them.
    assert_eq!(left(&Ingress::new(), &fields[1..]).map(|left| left.len()), Ok(99));
    assert_eq!(left(&Ingress::new(), &fields), Err(431));
    let cookies = [("cookie", "a=b"); 100];
    assert_eq!(left(&Ingress::new(), &cookies).map(|left| left.len()), Ok(100));
    assert_eq!(left(&Ingress::new(), &[&cookies[..], &cookies].concat()), Err(431));
    // However few names they share.
    assert_eq!(left(&Ingress::new(), &[("x-same", "1"); 100]), Err(431));
}

#[test]
fn who_takes_trailers_still_says_so() {
    for (te, expected) in [("deflate, Trailers", vec!["te: trailers"]), ("gzip", vec![])] {
        let left = left(&Ingress::new(), &[("te", te), ("connection", "te")]);
        assert_eq!(left.unwrap(), expected);
    }
    let mut two = request("/", &[("host", "a"), ("te", "gzip"), ("te", "trailers")]);
    Ingress::new().admit(&mut two).unwrap();
    assert_eq!(two.headers().get_all(TE).iter().count(), 1);
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    let forwarded = [
        ("forwarded", "for=198.51.100.1"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "198.51.100.2"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "198.51.100.1"),
        ("true-client-ip", "198.51.100.1"),
        ("x_forwarded_for", "198.51.100.1"),
        ("x-other", "1"),
    ];
    assert_eq!(left(&Ingress::new(), &forwarded).unwrap(), ["x-other: 1"]);
    let elsewhere = Ingress::new().trust(["198.51.100.0/24".parse().unwrap()]);
    assert_eq!(left(&elsewhere, &forwarded).unwrap(), ["x-other: 1"]);
    // As a socket for both versions has it.
    let trusting = elsewhere.trust(["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(left(&trusting, &forwarded).unwrap().len(), forwarded.len());
    assert!(left(&trusting, &[("connection", "x-forwarded-for")]).is_err());
}

#[test]
fn a_body_has_one_length() {
    let mut twice =
        request("/", &[("host", "a"), ("content-length", "5"), ("content-length", "5")]);
    Ingress::new().admit(&mut twice).unwrap();
    assert_eq!(twice.headers().get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"]);
    for headers in [
        &[("content-length", "5"), ("content-length", "6")][..],
        &[("content-length", "5"), ("content-length", "05")],
        &[("content-length", "5, 5")],
        &[("content-length", "+5")],
        &[("content-length", "")],
        &[("content-length", "05")],
        &[("content-length", "5"), ("transfer-encoding", "chunked")],
    ] {
        assert_eq!(left(&Ingress::new(), headers), Err(400), "{headers:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for (name, value, status) in [
        ("transfer-encoding", "gzip, chunked", 501),
        ("transfer-encoding", "chunked, chunked", 501),
        ("transfer-encoding", "identity", 501),
        ("expect", "200-ok", 417),
        ("expect", "100-continue, other", 417),
    ] {
        assert_eq!(left(&Ingress::new(), &[(name, value)]), Err(status), "{name}: {value}");
    }
    let two = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert_eq!(left(&Ingress::new(), &two), Err(501));
    let two = [("expect", "100-continue"), ("expect", "other")];
    assert_eq!(left(&Ingress::new(), &two), Err(417));
}

/// The URI and the host that all who come after see.
fn seen(ingress: &Ingress, mut request: Request<()>) -> Result<(String, String), u16> {
    ingress.admit(&mut request).map_err(|error| error.status())?;
    let host = request.headers().get(HOST).map_or("", |host| host.to_str().unwrap());
    Ok((request.uri().to_string(), host.to_owned()))
}

#[test]
fn uri_and_host_are_one() {
    let ingress = Ingress::new();
    for (uri, host, expected) in [
        ("/a?b", "a.example:81", ("http://a.example:81/a?b", "a.example:81")),
        ("http://A.example/", "a.example:80", ("http://a.example/", "A.example")),
        ("http://a.example?b", "a.example", ("http://a.example/?b", "a.example")),
    ] {
        let (uri, host) = seen(&ingress, request(uri, &[("host", host)])).unwrap();
        assert_eq!((uri.to_lowercase(), host), (expected.0.to_owned(), expected.1.to_owned()));
    }
    let mut http2 = request("http://a.example/", &[]);
    *http2.version_mut() = Version::HTTP_2;
    let both = ("http://a.example/".to_owned(), "a.example".to_owned());
    assert_eq!(seen(&ingress, http2).unwrap(), both);
    let mut http2 = request("http://a.example/", &[("host", "b.example")]);
    *http2.version_mut() = Version::HTTP_2;
    assert_eq!(seen(&ingress, http2), Err(400));
    assert_eq!(seen(&ingress, request("http://a.example/", &[])), Err(400), "HTTP/1.1 has a Host");
    let mut http10 = request("/", &[]);
    *http10.version_mut() = Version::HTTP_10;
    assert_eq!(seen(&ingress, http10).unwrap(), ("/".to_owned(), String::new()));
}

#[test]
fn the_scheme_is_that_of_the_connection() {
    let host = [("host", "a")];
    let plain = Ingress::new();
    assert_eq!(seen(&plain, request("https://a/", &host)), Err(421));
    assert_eq!(seen(&plain, request("ftp://a/", &host)), Err(400));
    let secure = Ingress::new().secure();
    assert_eq!(seen(&secure, request("/", &host)).unwrap().0, "https://a/");
    assert_eq!(seen(&secure, request("http://a/", &host)), Err(421));
    let trusting = plain.trust(["192.0.2.1".parse().unwrap()]);
    let mut forwarded = request("https://a/", &host);
    forwarded.extensions_mut().insert(SourceAddr("192.0.2.1:4711".parse().unwrap()));
    assert_eq!(seen(&trusting, forwarded).unwrap().0, "https://a/");
}

#[test]
fn a_target_is_one_of_its_method() {
    let with = |method: &str, uri: &str| {
        let mut request = request(uri, &[("host", "a")]);
        *request.method_mut() = method.parse().unwrap();
        seen(&Ingress::new(), request).map(|(uri, _)| uri)
    };
    assert_eq!(with("OPTIONS", "*").unwrap(), "http://a*");
    assert_eq!(with("GET", "*"), Err(400));
    assert_eq!(with("GET", "a:80"), Err(400));
    assert_eq!(with("GET", "a"), Err(400));
    assert_eq!(with("CONNECT", "a:80"), Err(501));
}

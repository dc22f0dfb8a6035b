use bytes::Bytes;
use http_body_util::{Empty, Full};

use super::*;

fn origin() -> Origin {
    "http://127.0.0.1:3000".parse().unwrap()
}

fn request(version: Version, uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().version(version).uri(uri).body(Empty::new()).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn sent(uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request =
        request(Version::HTTP_11, uri, &[&[("host", "a.example:81")], headers].concat());
    request.extensions_mut().insert(SourceAddr("[::ffff:192.0.2.1]:4711".parse().unwrap()));
    for_upstream(request, &origin()).unwrap()
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn replaces_the_target_and_keeps_the_host() {
    for (uri, target) in [
        ("/a?b=c", "http://127.0.0.1:3000/a?b=c"),
        ("http://a.example:81", "http://127.0.0.1:3000/"),
        ("*", "http://127.0.0.1:3000*"),
    ] {
        let request = sent(uri, &[]);
        assert_eq!(request.uri().to_string(), target);
        assert_eq!(values(request.headers(), "host"), ["a.example:81"]);
    }
    let http2 = request(Version::HTTP_2, "http://b.example/", &[]);
    let http2 = for_upstream(http2, &origin()).unwrap();
    assert_eq!(values(http2.headers(), "host"), ["b.example"]);
    assert_eq!(values(http2.headers(), "x-forwarded-host"), ["b.example"]);
    assert_eq!(http2.version(), Version::HTTP_11);
    let http10 = for_upstream(request(Version::HTTP_10, "/", &[]), &origin()).unwrap();
    assert!(!http10.headers().contains_key("host"), "the upstream's is put in by the client");
}

#[test]
fn a_request_without_one_good_host_is_bad() {
    for hosts in
        [&[][..], &["a", "b"], &["a b"], &[""], &["user@a"], &["a:b"], &["a:99999"], &["a/b"]]
    {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let error = for_upstream(request(Version::HTTP_11, "/", &headers), &origin()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{hosts:?}");
        assert_eq!(error.status(), 400, "{hosts:?}");
    }
}

#[test]
fn removes_fields_of_the_connection() {
    let request = sent(
        "/",
        &[
            ("connection", "x-one, keep-alive,,UPGRADE"),
            ("connection", "X-Two, host"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("trailer", "x-checksum"),
            ("upgrade", "websocket"),
        ],
    );
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected =
        ["host", "trailer", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-three"];
    assert_eq!(names, expected);

    let mut response = Response::new(());
    for (name, value) in
        [("connection", "close, x-one"), ("x-one", "1"), ("x-two", "2"), ("upgrade", "h2c")]
    {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    *response.version_mut() = Version::HTTP_10;
    let response = for_client(response).unwrap();
    assert_eq!(response.headers().keys().collect::<Vec<_>>(), ["x-two"]);
    assert_eq!(response.version(), Version::HTTP_11);
}

#[test]
fn passes_on_that_trailers_are_accepted() {
    let request = sent("/", &[("te", "deflate, Trailers"), ("connection", "te")]);
    assert_eq!(values(request.headers(), "te"), ["trailers"]);
    assert_eq!(values(request.headers(), "connection"), ["te"]);
}

#[test]
fn the_upstream_learns_who_asks_for_what() {
    let request = sent("/", &[]);
    assert_eq!(values(request.headers(), "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(values(request.headers(), "x-forwarded-host"), ["a.example:81"]);
    assert_eq!(values(request.headers(), "x-forwarded-proto"), ["http"]);
    let request = sent(
        "/",
        &[
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "198.51.100.2, 198.51.100.3"),
            ("x-forwarded-host", "outer.example"),
            ("x-forwarded-proto", "https"),
        ],
    );
    assert_eq!(
        values(request.headers(), "x-forwarded-for"),
        ["198.51.100.1, 198.51.100.2, 198.51.100.3, 192.0.2.1"]
    );
    assert_eq!(values(request.headers(), "x-forwarded-host"), ["outer.example"]);
    assert_eq!(values(request.headers(), "x-forwarded-proto"), ["https"]);
}

/// A body of unknown length.
struct Pieces;

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

/// The content-length and the transfer-encoding that go to the upstream.
fn framing<B: Body>(
    headers: &[(&str, &str)],
    body: B,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let mut request = Request::get("/").header("host", "a").body(body).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let request = for_upstream(request, &origin())?;
    let headers = request.headers();
    Ok((values(headers, "content-length"), values(headers, "transfer-encoding")))
}

#[test]
fn announces_the_framing_of_a_body() {
    let chunked = (vec![], vec!["chunked".to_owned()]);
    assert_eq!(framing(&[], Pieces).unwrap(), chunked);
    let both = [("content-length", "3"), ("transfer-encoding", "Chunked")];
    assert_eq!(framing(&both, Pieces).unwrap(), chunked);
    let length = (vec!["3".to_owned()], vec![]);
    assert_eq!(framing(&[("content-length", "3")], Pieces).unwrap(), length);
    assert_eq!(framing(&[("content-length", "3")], Full::<Bytes>::from("abc")).unwrap(), length);
    assert_eq!(framing(&[], Empty::<Bytes>::new()).unwrap(), (vec![], vec![]));
}

#[test]
fn a_coding_that_is_not_known_is_refused() {
    for coding in ["gzip, chunked", "gzip", "chunked, chunked"] {
        let error = framing(&[("transfer-encoding", coding)], Pieces).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::BadRequest, 501), "{coding}");
        let response = Response::builder().header("transfer-encoding", coding).body(()).unwrap();
        assert_eq!(for_client(response).unwrap_err().kind(), ErrorKind::Upstream, "{coding}");
    }
}

#[test]
fn a_response_has_one_length_said_plainly() {
    for (lengths, expected) in [
        (&["5"][..], Some("5")),
        (&["0"], Some("0")),
        (&["5", "5"], Some("5")),
        (&["5, 5"], Some("5")),
        (&["005"], Some("5")),
        (&["5", "6"], None),
        (&["5, 6"], None),
        (&["+5"], None),
        (&[""], None),
        (&["5", "x"], None),
    ] {
        let mut response = Response::new(());
        for length in lengths {
            response.headers_mut().append(CONTENT_LENGTH, length.parse().unwrap());
        }
        let response = for_client(response).ok();
        let got = response.map(|response| values(response.headers(), "content-length"));
        assert_eq!(got, expected.map(|length| vec![length.to_owned()]), "{lengths:?}");
    }
}

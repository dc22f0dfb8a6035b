//! Requests, and what may come of them.

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// That of the first answer is one of these; there is no answer if there are none.
    pub(crate) statuses: &'static [u16],
    pub(crate) then: Then,
    /// What all that comes has in it, in lower case, and what it has not.
    pub(crate) has: &'static [&'static str],
    pub(crate) lacks: &'static [&'static str],
}

/// What becomes of the connection.
#[derive(Debug)]
pub(crate) enum Then {
    Closes,
    GoesOn,
    Either,
}

use Then::{Closes, Either, GoesOn};

impl Case {
    fn has(self, has: &'static [&'static str]) -> Self {
        Self { has, ..self }
    }

    fn lacks(self, lacks: &'static [&'static str]) -> Self {
        Self { lacks, ..self }
    }
}

fn raw(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    statuses: &'static [u16],
    then: Then,
) -> Case {
    Case { name, bytes: bytes.into(), statuses, then, has: &[], lacks: &[] }
}

/// A request with this line and these header lines beside `Host`.
fn with(
    name: &'static str,
    line: &str,
    headers: &str,
    statuses: &'static [u16],
    then: Then,
) -> Case {
    raw(name, format!("{line}\r\nhost: a\r\n{headers}\r\n"), statuses, then)
}

/// A GET that is answered, and goes on.
fn good(name: &'static str, headers: &str) -> Case {
    with(name, "GET /request HTTP/1.1", headers, &[200], GoesOn)
}

fn bad(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    raw(name, bytes, &[400], Closes)
}

/// A POST whose body the component reads to its end.
fn body(name: &'static str, headers: &str, body: &str, length: &'static [&'static str]) -> Case {
    let text = format!("POST /drain HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}");
    raw(name, text, &[200], GoesOn).has(length)
}

pub(crate) fn cases() -> Vec<Case> {
    [messages(), bodies(), connections(), targets(), hosts(), malformed(), sizes()]
        .into_iter()
        .flatten()
        .collect()
}

/// What an answer has, and has not.
fn messages() -> Vec<Case> {
    vec![
        good("a request", "").has(&["\r\ndate: ", " gmt\r\n", "\r\ncontent-type: text/plain"]),
        with("HEAD has no body", "HEAD /hello HTTP/1.1", "", &[200], GoesOn).lacks(&["hello"]),
        with(
            "204 has no length",
            "GET /status?code=204 HTTP/1.1",
            "connection: close\r\n",
            &[204],
            Closes,
        )
        .lacks(&["content-length", "transfer-encoding"]),
        with(
            "304 has no body",
            "GET /status?code=304 HTTP/1.1",
            "connection: close\r\n",
            &[304],
            Closes,
        )
        .lacks(&["transfer-encoding"]),
        with("404", "GET /nowhere HTTP/1.1", "", &[404], GoesOn),
        with("a method in lower case is another", "get /request HTTP/1.1", "", &[200], GoesOn)
            .has(&["method: get\n"]),
        with(
            "a method that is not known is the component's affair",
            "FROB /request HTTP/1.1",
            "",
            &[200],
            GoesOn,
        ),
        with("TRACE is not echoed", "TRACE /hello HTTP/1.1", "cookie: secret\r\n", &[200], GoesOn)
            .lacks(&["secret"]),
        good("names in any case", "X-ONE: 1\r\naccept: nonsense\r\n").has(&["\nx-one: 1\n"]),
        good("a value with spaces around", "x-one:  \t1 \t\r\n").has(&["\nx-one: 1\n"]),
        good("an empty value", "x-one:\r\n").has(&["\nx-one: \n"]),
        good("a field twice", "x-one: 1\r\nx-one: 2\r\n").has(&["\nx-one: 1\n", "\nx-one: 2\n"]),
        good("a value that is not ASCII", "x-one: \u{e9}\r\n"),
        good("a range is the component's affair", "range: bytes=9-1\r\n"),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        body("a length", "content-length: 5\r\n", "hello", &["\r\n5\r\n"]),
        body("a length of 0", "content-length: 0\r\n", "", &["\r\n0\r\n"]),
        body("no length and no chunks", "", "", &["\r\n0\r\n"]),
        body(
            "chunks",
            "transfer-encoding: chunked\r\n",
            "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
            &["\r\n6\r\n"],
        ),
        body("no chunk", "transfer-encoding: chunked\r\n", "0\r\n\r\n", &["\r\n0\r\n"]),
        body(
            "capital digits",
            "transfer-encoding: chunked\r\n",
            "A\r\n0123456789\r\n0\r\n\r\n",
            &["\r\n10\r\n"],
        ),
        body(
            "an extension",
            "transfer-encoding: chunked\r\n",
            "5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
            &["\r\n5\r\n"],
        ),
        body(
            "a trailer",
            "transfer-encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\nx-one: 1\r\n\r\n",
            &["\r\n5\r\n"],
        ),
        raw(
            "a GET with a body",
            "GET /drain HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
            &[200],
            GoesOn,
        )
        .has(&["\r\n5\r\n"]),
        raw(
            "a body that is not read",
            "POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
            &[200],
            Either,
        ),
        raw(
            "length and chunks",
            "POST /drain HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            &[200],
            Closes,
        ),
        with(
            "a coding that is not known",
            "POST /drain HTTP/1.1",
            "transfer-encoding: gzip, chunked\r\n",
            &[501],
            Closes,
        ),
        bad(
            "a coding that is not chunked last",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        ),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        good("keep-alive is the default", ""),
        with("close", "GET /request HTTP/1.1", "connection: close\r\n", &[200], Closes).has(&["connection: close"]),
        with("close among others", "GET /request HTTP/1.1", "connection: x-one, Close\r\n", &[200], Closes),
        with("close is the default of HTTP/1.0", "GET /request HTTP/1.0", "", &[200], Closes),
        good("what Connection names goes", "connection: x-one\r\nx-one: 1\r\n").lacks(&["x-one"]),
        raw(
            "one after the other",
            "GET /hello HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20),
            &[200],
            GoesOn,
        ),
        raw("100-continue", "POST /drain HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello", &[200], GoesOn),
        raw("no 1xx for HTTP/1.0", "POST /drain HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello", &[200], Closes)
            .lacks(&["http/1.1 1", "http/1.0 1"]),
        with("another expectation", "GET /hello HTTP/1.1", "expect: 200-ok\r\n", &[417], Closes),
        good("an upgrade that is not known", "connection: upgrade\r\nupgrade: x/1\r\n").lacks(&["http/1.1 101"]),
        good("h2c", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n").lacks(&["http/1.1 101"]),
        good("a websocket of another version", "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 99\r\n")
            .lacks(&["http/1.1 101"]),
        good("an upgrade without Connection", "upgrade: websocket\r\n").lacks(&["http/1.1 101"]),
        with("an upgrade of HTTP/1.0", "GET /request HTTP/1.0", "connection: upgrade\r\nupgrade: websocket\r\n", &[200], Closes),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        with("a query", "GET /request?a=b%20c HTTP/1.1", "", &[200], GoesOn)
            .has(&["path-with-query: /request?a=b%20c\n"]),
        with("absolute", "GET http://a/request HTTP/1.1", "", &[200], GoesOn)
            .has(&["path-with-query: /request\n"]),
        with("absolute without a path", "GET http://a HTTP/1.1", "", &[404], GoesOn),
        with("a star for OPTIONS", "OPTIONS * HTTP/1.1", "", &[200, 404], GoesOn),
        with("a star for GET", "GET * HTTP/1.1", "", &[400], Closes),
        with("CONNECT", "CONNECT a:80 HTTP/1.1", "", &[501], Closes),
        with("https without TLS", "GET https://a/request HTTP/1.1", "", &[421], Closes),
        // hyper's URI drops it, for all who come after alike.
        with("a fragment", "GET /request#f HTTP/1.1", "", &[200], GoesOn).lacks(&["#f"]),
        with("an encoded NUL stays encoded", "GET /request?%00 HTTP/1.1", "", &[200], GoesOn)
            .has(&["?%00\n"]),
        with(
            "encoded line ends stay encoded",
            "GET /request?%0d%0ax:1 HTTP/1.1",
            "",
            &[200],
            GoesOn,
        )
        .has(&["?%0d%0ax:1\n"]),
        with("dots stay", "GET /a/../request HTTP/1.1", "", &[404], GoesOn),
        with(
            "a target of 8000 bytes",
            &format!("GET /{} HTTP/1.1", "a".repeat(8000)),
            "",
            &[404],
            GoesOn,
        ),
        with(
            "a target of 70000 bytes",
            &format!("GET /{} HTTP/1.1", "a".repeat(70_000)),
            "",
            &[414, 431],
            Closes,
        ),
    ]
}

fn hosts() -> Vec<Case> {
    let host = |name, host: &str| bad(name, format!("GET /request HTTP/1.1\r\n{host}\r\n"));
    vec![
        host("no host", ""),
        host("two hosts", "host: a\r\nhost: b\r\n"),
        host("the same host twice", "host: a\r\nhost: a\r\n"),
        host("an empty host", "host:\r\n"),
        host("a host with a path", "host: a/b\r\n"),
        host("a host with a user", "host: me@a\r\n"),
        host("hosts in a list", "host: a, b\r\n"),
        host("a port that is none", "host: a:b\r\n"),
        bad("another host in the target", "GET http://b/request HTTP/1.1\r\nhost: a\r\n\r\n"),
        bad("no host beside the target's", "GET http://a/request HTTP/1.1\r\n\r\n"),
        raw("no host in HTTP/1.0", "GET /request HTTP/1.0\r\n\r\n", &[200], Closes),
    ]
}

fn malformed() -> Vec<Case> {
    let line =
        |name, line: &str| bad(name, format!("GET /request HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n"));
    let first = |name, first: &str| bad(name, format!("{first}\r\nhost: a\r\n\r\n"));
    vec![
        line("folded", "x-one: 1\r\n 2"),
        line("a space before the colon", "x-one : 1"),
        line("no colon", "x-one"),
        line("no name", ": 1"),
        line("a name that is none", "x[one]: 1"),
        line("a tab in a name", "x\tone: 1"),
        line("a name that is not ASCII", "x-\u{e9}: 1"),
        line("a NUL", "x-one: 1\u{0}"),
        line("a bell", "x-one: 1\u{7}"),
        line("an escape", "x-one: 1\u{1b}"),
        line("a bare CR", "x-one: 1\rx-two: 2"),
        bad("a space before the first field", "GET /request HTTP/1.1\r\n host: a\r\n\r\n"),
        bad("CRs for line ends", "GET /request HTTP/1.1\rhost: a\r\r"),
        bad("garbage", [0xff, 0xfe, 0x00, 0x01, 0x80, 0x0d, 0x0a, 0x0d, 0x0a]),
        bad("a blank line", "   \r\n\r\n"),
        bad("a TLS hello", [0x16, 0x03, 0x01, 0x00, 0xa5, 0x01, 0x00, 0x00]),
        first("two spaces", "GET  /request HTTP/1.1"),
        first("tabs", "GET\t/request\tHTTP/1.1"),
        first("a space behind", "GET /request HTTP/1.1 "),
        first("no target", "GET HTTP/1.1"),
        first("a target with a space", "GET /request x HTTP/1.1"),
        first("a NUL in the target", "GET /request\u{0} HTTP/1.1"),
        first("HTTP/0.9", "GET /request"),
        first("HTTP/1.2", "GET /request HTTP/1.2"),
        first("HTTP/9.9", "GET /request HTTP/9.9"),
        first("HTTP/1", "GET /request HTTP/1"),
        first("HTTP/01.1", "GET /request HTTP/01.1"),
        first("http/1.1", "GET /request http/1.1"),
        first("HTTP/ 1.1", "GET /request HTTP/ 1.1"),
        first("a method with brackets", "GE[T] /request HTTP/1.1"),
        bad("overlong UTF-8", [&b"GET /request\xc0\xaf HTTP/1.1\r\nhost: a\r\n\r\n"[..]].concat()),
        // RFC 9112, section 2.2, lets a server take these two.
        raw("LFs for line ends", "GET /request HTTP/1.1\nhost: a\n\n", &[200], GoesOn),
        raw(
            "empty lines first",
            "\r\n\r\nGET /request HTTP/1.1\r\nhost: a\r\n\r\n",
            &[200],
            GoesOn,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let long = "a".repeat(70_000);
    let many = |count| (0..count).map(|i| format!("x-{i}: 1\r\n")).collect::<String>();
    vec![
        good("a value of 8000 bytes", &format!("x-one: {}\r\n", "a".repeat(8000))),
        with(
            "a value of 70000 bytes",
            "GET /request HTTP/1.1",
            &format!("x-one: {long}\r\n"),
            &[431],
            Closes,
        ),
        with(
            "a name of 70000 bytes",
            "GET /request HTTP/1.1",
            &format!("{long}: 1\r\n"),
            &[400, 431],
            Closes,
        ),
        with("90 fields", "GET /request HTTP/1.1", &many(90), &[200], GoesOn),
        with("1000 fields", "GET /request HTTP/1.1", &many(1000), &[431], Closes),
        with(
            "a method of 70000 bytes",
            &format!("{long} /request HTTP/1.1"),
            "",
            &[400, 431],
            Closes,
        ),
    ]
}

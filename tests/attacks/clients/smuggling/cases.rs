//! The attacks, and how each must end.

/// An attack.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

/// How an attack ends.
#[derive(Debug)]
pub(crate) enum End {
    /// It is refused with one of these, nothing of it goes on, and the connection closes.
    Refused(&'static [u16]),
    /// Its body is not what it says: whatever has begun is given up, and the connection closes.
    Broken,
    /// It is a request with this body, and the connection closes.
    Closed(&'static str),
    /// It is a request with this body, and the connection goes on.
    Open(&'static str),
}

use End::{Broken, Closed, Open, Refused};

/// A request to be smuggled, of 37 bytes.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: b\r\n\r\nx=";

fn case(name: &'static str, text: impl Into<String>, end: End) -> Case {
    Case { name, bytes: text.into().into_bytes(), end }
}

/// A POST with these header lines, without their last line end, and with a body.
fn post(name: &'static str, headers: &str, body: &str, end: End) -> Case {
    case(name, format!("POST /x HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{body}"), end)
}

/// A chunked body.
fn chunked(name: &'static str, body: &str, end: End) -> Case {
    post(name, "transfer-encoding: chunked", body, end)
}

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), codings(), chunks(), lines(), versions(), connections()]
        .into_iter()
        .flatten()
        .collect()
}

/// Content-Length: what is said of it, and that it is said.
fn lengths() -> Vec<Case> {
    let bad = |name, headers: &str| post(name, headers, "hello", Refused(&[400]));
    let get = |body: &str| {
        format!("GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    vec![
        post("a good length", "content-length: 5", "hello", Open("hello")),
        case("a body of GET", get(SMUGGLED), Open(SMUGGLED)),
        post(
            "two that are the same",
            "content-length: 5\r\ncontent-length: 5",
            "hello",
            Open("hello"),
        ),
        bad("two that differ", "content-length: 5\r\ncontent-length: 0"),
        bad("two that differ, 0 first", "content-length: 0\r\ncontent-length: 5"),
        bad("a list", "content-length: 5, 5"),
        bad("a list that differs", "content-length: 5, 0"),
        bad("a sign", "content-length: +5"),
        bad("a minus", "content-length: -5"),
        bad("a minus zero", "content-length: -0"),
        bad("a space in it", "content-length: 5 5"),
        bad("hexadecimal", "content-length: 0x5"),
        bad("octal", "content-length: 0o5"),
        bad("leading zeros", "content-length: 005"),
        bad("double zero", "content-length: 00"),
        bad("nothing", "content-length:"),
        bad("a fraction", "content-length: 5.0"),
        bad("an exponent", "content-length: 5e0"),
        bad("an underscore in it", "content-length: 0_5"),
        bad("other digits", "content-length: \u{ff15}"),
        post("2^64", "content-length: 18446744073709551616", "hello", Refused(&[400, 413, 431])),
        post(
            "2^64 - 1",
            "content-length: 18446744073709551615",
            "hello",
            Refused(&[400, 413, 431]),
        ),
        bad("a space before the colon", "content-length : 5"),
        bad("a tab before the colon", "content-length\t: 5"),
        bad("a space in the name", "content length: 5"),
        bad("folded", "content-length:\r\n 5"),
        bad("folded behind another", "x-one: 1\r\n content-length: 5"),
        post(
            "an underscore in the name",
            "content_length: 0\r\ncontent-length: 5",
            "hello",
            Open("hello"),
        ),
        post("spaces around", "content-length:   5  ", "hello", Open("hello")),
    ]
}

/// Transfer-Encoding: with a length beside it, and such as one reader understands and another does not.
fn codings() -> Vec<Case> {
    let zero = format!("0\r\n\r\n{SMUGGLED}");
    let both = |name, first: &str, second: &str, body: &str, end| {
        post(name, &format!("{first}\r\n{second}"), body, end)
    };
    let te = "transfer-encoding: chunked";
    let hidden = format!("25\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let bad = |name, coding: &str, statuses| {
        post(
            name,
            &format!("content-length: 5\r\ntransfer-encoding:{coding}"),
            "hello",
            Refused(statuses),
        )
    };
    vec![
        both("CL.TE", "content-length: 42", te, &zero, Closed("")),
        both("TE before CL", te, "content-length: 42", &zero, Closed("")),
        both("TE.CL", "content-length: 4", te, &hidden, Closed(SMUGGLED)),
        both("TE.CL, 0", te, "content-length: 0", &hidden, Closed(SMUGGLED)),
        both(
            "two codings, the last unknown",
            te,
            "transfer-encoding: identity",
            &zero,
            Refused(&[400]),
        ),
        both("two codings, the first unknown", "transfer-encoding: x", te, &zero, Refused(&[501])),
        both("chunked twice", te, te, &zero, Refused(&[501])),
        bad("not chunked", " xchunked", &[400]),
        bad("identity", " identity", &[400]),
        bad("nothing", "", &[400]),
        bad("chunked is not the last", " chunked, identity", &[400]),
        bad("gzip first", " gzip, chunked", &[501]),
        bad("in one line twice", " chunked, chunked", &[501]),
        bad("a comma first", " , chunked", &[501]),
        bad("a comma last", " chunked,", &[400]),
        bad("a parameter", " chunked;q=1", &[400]),
        bad("quoted", " \"chunked\"", &[400]),
        bad("a vertical tab", " \u{b}chunked", &[400]),
        bad("a form feed", " \u{c}chunked", &[400]),
        bad("a NUL", " chunked\0", &[400]),
        bad("a letter that folds to k", " chun\u{212a}ed", &[400]),
        bad("a space that is none", " \u{a0}chunked", &[400]),
        bad("folded", "\r\n chunked", &[400]),
        bad("a bare CR", " x\rtransfer-encoding: chunked", &[400]),
        post(
            "a space before the colon",
            "content-length: 5\r\ntransfer-encoding : chunked",
            "hello",
            Refused(&[400]),
        ),
        post(
            "behind another, folded",
            "content-length: 5\r\nx-one: 1\r\n transfer-encoding: chunked",
            "hello",
            Refused(&[400]),
        ),
        post(
            "an underscore",
            "content-length: 5\r\ntransfer_encoding: chunked",
            "hello",
            Open("hello"),
        ),
        post("upper case", "TRANSFER-ENCODING: CHUNKED", "5\r\nhello\r\n0\r\n\r\n", Open("hello")),
        post(
            "a tab before",
            "transfer-encoding:\tchunked",
            "5\r\nhello\r\n0\r\n\r\n",
            Open("hello"),
        ),
        post(
            "named by Connection",
            "connection: transfer-encoding\r\ntransfer-encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
            Open("hello"),
        ),
        post(
            "the length named by Connection",
            "connection: content-length\r\ncontent-length: 5",
            "hello",
            Refused(&[400]),
        ),
    ]
}

/// Chunks.
fn chunks() -> Vec<Case> {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(64 * 1024));
    vec![
        chunked("one chunk", "5\r\nhello\r\n0\r\n\r\n", Open("hello")),
        chunked("a request in a chunk", &format!("25\r\n{SMUGGLED}\r\n0\r\n\r\n"), Open(SMUGGLED)),
        chunked("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", Open("hello")),
        chunked("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n", Open("hello")),
        chunked("an extension of 64 KiB", &long, Broken),
        chunked("a line end in an extension", "5;a\nhello\r\n0\r\n\r\n", Broken),
        chunked("a CR in an extension", "5;a\rX\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("2^64 + 5", "10000000000000005\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("hexadecimal, said twice", "0x5\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("a sign", "+5\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("a minus", "-5\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("an underscore", "0_5\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("a space first", " 5\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("no size", "\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("a bare LF", "5\nhello\r\n0\r\n\r\n", Broken),
        chunked("a bare CR", "5\rhello\r\n0\r\n\r\n", Broken),
        chunked("no line end behind", "5\r\nhello0\r\n\r\n", Broken),
        chunked("a bare LF behind", "5\r\nhello\n0\r\n\r\n", Broken),
        chunked("more than its size", "3\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("a NUL in the size", "5\0\r\nhello\r\n0\r\n\r\n", Broken),
        chunked("a trailer without a colon", "5\r\nhello\r\n0\r\nx\r\n\r\n", Broken),
        chunked("a trailer with a space", "5\r\nhello\r\n0\r\nx y: 1\r\n\r\n", Broken),
        chunked("a trailer", "5\r\nhello\r\n0\r\nx-one: 1\r\n\r\n", Open("hello")),
    ]
}

/// Lines of a head.
fn lines() -> Vec<Case> {
    let bad = |name, line: &str| {
        case(name, format!("GET /x HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n"), Refused(&[400]))
    };
    let first =
        |name, line: &str| case(name, format!("{line}\r\nhost: a\r\n\r\n"), Refused(&[400]));
    vec![
        bad("a bare CR in a value", "x-one: 1\rx-two: 2"),
        bad("a NUL in a value", "x-one: 1\0"),
        bad("a NUL in a name", "x\0: 1"),
        bad("a name with a space", "x one: 1"),
        bad("no name", ": 1"),
        bad("no colon", "x-one"),
        bad("a space first", " x-one: 1"),
        bad("folded", "x-one: 1\r\n 2"),
        bad("a name that is not ASCII", "x-\u{e9}: 1"),
        first("two spaces", "GET  /x HTTP/1.1"),
        first("a tab", "GET\t/x\tHTTP/1.1"),
        first("a space in the target", "GET /x y HTTP/1.1"),
        first("a bare CR in the target", "GET /x\rHTTP/1.1"),
        first("a NUL in the target", "GET /x\0 HTTP/1.1"),
        first("no target", "GET HTTP/1.1"),
        first("no slash", "GET x HTTP/1.1"),
        first("a star for GET", "GET * HTTP/1.1"),
        first("a target for CONNECT", "GET a:80 HTTP/1.1"),
        first("another host in the target", "GET http://b/x HTTP/1.1"),
        first("a user in the target", "GET http://b@a/x HTTP/1.1"),
        first("another scheme", "GET ftp://a/x HTTP/1.1"),
        case("https in the target", "GET https://a/x HTTP/1.1\r\nhost: a\r\n\r\n", Refused(&[421])),
        case("two hosts", "GET /x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", Refused(&[400])),
        case("a host with a comma", "GET /x HTTP/1.1\r\nhost: a, b\r\n\r\n", Refused(&[400])),
        case("no host", "GET /x HTTP/1.1\r\n\r\n", Refused(&[400])),
        case("CONNECT", "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", Refused(&[501])),
        case("bare LFs", "GET /x HTTP/1.1\nhost: a\n\n", Open("")),
        case("empty lines first", "\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n", Open("")),
        case("encoded line ends", "GET /x%0d%0aGET%20/y HTTP/1.1\r\nhost: a\r\n\r\n", Open("")),
        case("an absolute target", "GET http://a/x HTTP/1.1\r\nhost: a\r\n\r\n", Open("")),
    ]
}

/// Other versions.
fn versions() -> Vec<Case> {
    let bad =
        |name, line: &str| case(name, format!("{line}\r\nhost: a\r\n\r\n"), Refused(&[400, 505]));
    vec![
        bad("HTTP/0.9", "GET /smuggled"),
        bad("HTTP/1.2", "GET /smuggled HTTP/1.2"),
        bad("HTTP/2.0", "GET /smuggled HTTP/2.0"),
        bad("leading zeros", "GET /smuggled HTTP/01.1"),
        bad("lower case", "GET /smuggled http/1.1"),
        bad("a space in it", "GET /smuggled HTTP/ 1.1"),
        case(
            "HTTP/1.0 with chunks",
            "POST /x HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(&[400]),
        ),
        case(
            "HTTP/1.0 that is kept",
            "POST /x HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
            Open("hello"),
        ),
        case(
            "HTTP/1.0",
            "POST /x HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
            Closed("hello"),
        ),
    ]
}

/// What a connection is to become, and expectations.
fn connections() -> Vec<Case> {
    vec![
        post(
            "h2c",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\ncontent-length: 5",
            "hello",
            Open("hello"),
        ),
        post(
            "a websocket",
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\ncontent-length: 37",
            SMUGGLED,
            Open(SMUGGLED),
        ),
        post("an expectation", "expect: 100-continue\r\ncontent-length: 5", "hello", Open("hello")),
        post(
            "another one",
            "expect: y 100-continue\r\ncontent-length: 37",
            SMUGGLED,
            Refused(&[417]),
        ),
        post(
            "two of them",
            "expect: 100-continue\r\nexpect: y\r\ncontent-length: 37",
            SMUGGLED,
            Refused(&[417]),
        ),
        post(
            "closed and kept",
            "connection: close\r\nconnection: keep-alive\r\ncontent-length: 5",
            "hello",
            Closed("hello"),
        ),
    ]
}

//! Names, values and the like, each for a byte: usual ones, and those that a host must refuse.

use wasip2::http::types::{ErrorCode, Method, Scheme};

pub(crate) fn name(byte: u8) -> String {
    let names = [
        "x-a",
        "x-b",
        "X-Upper",
        "content-length",
        "content-type",
        "connection",
        "transfer-encoding",
        "host",
        "keep-alive",
        "trailer",
        "te",
        "upgrade",
        "proxy-status",
        "proxy-connection",
        "set-cookie",
        "http2-settings",
        "",
        "bad name",
        "x-\n",
        "x-\u{e9}",
        ":status",
        "date",
        "server",
        "vary",
    ];
    match byte {
        255 => "n".repeat(70_000),
        byte => names[usize::from(byte) % names.len()].to_owned(),
    }
}

pub(crate) fn value(byte: u8) -> Vec<u8> {
    let values: [&[u8]; 16] = [
        b"",
        b"0",
        b"1",
        b"5",
        b"100",
        b"18446744073709551616",
        b"-1",
        b"chunked",
        b"close",
        b"keep-alive, x-a",
        b"a\r\nx-forged: b",
        b"\0",
        b"\xff\xfe",
        b" spaces ",
        b"trailers",
        b"x-done",
    ];
    match byte {
        254 => vec![b'v'; 1000],
        255 => vec![b'v'; 70_000],
        byte => values[usize::from(byte) % values.len()].to_vec(),
    }
}

pub(crate) fn method(byte: u8) -> Method {
    match byte % 12 {
        0..3 => Method::Get,
        3 => Method::Head,
        4 => Method::Post,
        5 => Method::Put,
        6 => Method::Delete,
        7 => Method::Connect,
        8 => Method::Options,
        9 => Method::Other("BREW".to_owned()),
        10 => Method::Other("bad method\r\n".to_owned()),
        _ => Method::Other(String::new()),
    }
}

pub(crate) fn scheme(byte: u8) -> Option<Scheme> {
    match byte % 8 {
        0 => None,
        1 => Some(Scheme::Https),
        2 => Some(Scheme::Other("ftp".to_owned())),
        3 => Some(Scheme::Other("bad scheme\n".to_owned())),
        _ => Some(Scheme::Http),
    }
}

/// `near` is a server that the host has for this.
pub(crate) fn authority(byte: u8, near: &str) -> Option<String> {
    let others = ["127.0.0.1:1", "", "a b", "[::1", "user@127.0.0.1:1", "\n", "127.0.0.1:99999"];
    match byte % 16 {
        0 => None,
        other @ 1..8 => Some(others[usize::from(other) - 1].to_owned()),
        _ => Some(near.to_owned()),
    }
}

pub(crate) fn path(byte: u8) -> Option<String> {
    let paths = [
        "/",
        "/chunked",
        "/cut",
        "/long",
        "/silent",
        "/trailers",
        "",
        "no-slash",
        "/a b",
        "/\r\nx: y",
        "*",
        "/?q",
    ];
    match byte {
        0 => None,
        255 => Some("/p".repeat(40_000)),
        byte => Some(paths[usize::from(byte) % paths.len()].to_owned()),
    }
}

pub(crate) fn error(byte: u8) -> ErrorCode {
    match byte % 6 {
        0 => ErrorCode::DnsTimeout,
        1 => ErrorCode::HttpRequestDenied,
        2 => ErrorCode::InternalError(Some("asked for\r\nby a fuzzer\u{1b}[31m".to_owned())),
        3 => ErrorCode::HttpResponseBodySize(Some(7)),
        4 => ErrorCode::LoopDetected,
        _ => ErrorCode::ConnectionTerminated,
    }
}

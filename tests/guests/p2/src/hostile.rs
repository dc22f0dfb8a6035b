//! The routes of a guest that means harm, one request at a time.

use std::io;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme,
};

use crate::answer::{read, sleep_for_ever, spin, start, text};
use crate::query::{Query, split_url};

pub(crate) fn route(path: &str, query: &Query, out: ResponseOutparam) -> io::Result<()> {
    match path {
        "/recurse" => text(out, 200, format!("{}\n", recurse(1))),
        "/spin-after" => {
            text(out, 200, "done\n")?;
            spin(None);
            Ok(())
        }
        // Before the head, or after so many bytes of a body that does not end.
        "/trap-at" => {
            let n = query.number("n").expect("/trap-at was asked for");
            let mut body = start(out, 200, &[]);
            if n > 0 {
                body.write(&vec![b'x'; n as usize])?;
            }
            panic!("/trap-at was asked for")
        }
        "/twice" => {
            // SAFETY: it is one of this guest. That it is used up by then is what this is about.
            let again = unsafe { ResponseOutparam::from_handle(out.handle()) };
            let mut body = start(out, 200, &[]);
            body.write(b"once\n")?;
            text(again, 200, "twice\n")?;
            body.finish(None)
        }
        "/drop-out" => {
            drop(out);
            sleep_for_ever()
        }
        "/set-headers" => set_headers(query, out),
        "/timeouts" => timeouts(query, out),
        _ => text(out, 404, "not found\n"),
    }
}

fn recurse(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 32]);
    recurse(n + 1) + frame[(n % 32) as usize]
}

/// What no guest may send, and what is no header at all.
const BAD: [(&str, &[u8]); 13] = [
    ("connection", b"close"),
    ("keep-alive", b"timeout=5"),
    ("proxy-connection", b"close"),
    ("transfer-encoding", b"chunked"),
    ("upgrade", b"websocket"),
    ("host", b"forged"),
    ("http2-settings", b"AAMAAABkAAQAAP__"),
    ("", b"x"),
    ("two words", b"x"),
    ("x-line\r\nx-injected", b"x"),
    ("x-line", b"x\r\nx-injected: x"),
    ("x-feed", b"x\nx-injected: x"),
    ("x-zero", b"x\0y"),
];

/// Tries to send them as headers and as trailers, or `n` headers of 100 bytes.
fn set_headers(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let (headers, trailers) = (Fields::new(), Fields::new());
    for i in 0..query.number("n").unwrap_or(0) {
        headers.append(&format!("x-{i}"), &[b'x'; 100]).expect("a header");
    }
    let mut taken = Vec::new();
    for (name, value) in BAD {
        for fields in [&headers, &trailers] {
            if fields.append(name, value).is_ok() {
                taken.push(name.escape_debug().to_string());
            }
        }
    }
    trailers.append("x-checksum", b"42").expect("a trailer");
    headers.append("trailer", b"x-checksum").expect("a header");
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("taken once");
    stream.blocking_write_and_flush(format!("{taken:?}\n").as_bytes()).map_err(io::Error::other)?;
    drop(stream);
    wasip2::http::types::OutgoingBody::finish(body, Some(trailers)).map_err(io::Error::other)
}

/// Makes a request with these timeouts, in nanoseconds, and says how it ended.
fn timeouts(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let said = match fetch(query) {
        Ok(body) => format!("ok {}\n", body.len()),
        Err(code) => format!("{code:?}\n"),
    };
    text(out, 200, said)
}

fn fetch(query: &Query) -> Result<Vec<u8>, ErrorCode> {
    let (_, authority, path) = query.get("url").and_then(split_url).expect("a URL");
    let options = RequestOptions::new();
    options.set_connect_timeout(query.number("connect")).expect("an option");
    options.set_first_byte_timeout(query.number("first")).expect("an option");
    options.set_between_bytes_timeout(query.number("between")).expect("an option");
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(path)).expect("a path");
    let response = outgoing_handler::handle(request, Some(options))?;
    response.subscribe().block();
    let response = response.get().expect("ready").expect("taken once")?;
    let incoming = response.consume().expect("taken once");
    let input = incoming.stream().expect("taken once");
    let mut body = Vec::new();
    while let Some(chunk) = read(&input).map_err(|_| ErrorCode::ConnectionReadTimeout)? {
        body.extend(chunk);
    }
    Ok(body)
}

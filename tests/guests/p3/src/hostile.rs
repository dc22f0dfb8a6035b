//! The routes of a guest that means harm, one request at a time.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, RequestOptions, Response, Scheme};
use wasip3::wit_stream::StreamPayload;
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::answer::{read, spin, stream, text};
use crate::query::{Query, split_url};

pub(crate) async fn route(path: &str, query: &Query) -> Response {
    match path {
        "/recurse" => text(200, format!("{}\n", recurse(1))),
        "/spin-after" => stream(200, &[], async |mut body| {
            body.write("done\n").await?;
            body.finish(None).await?;
            spin(None);
            Ok(())
        }),
        // Before the head, or after so many bytes of a body that does not end.
        "/trap-at" => {
            let n = query.number("n").expect("/trap-at was asked for");
            stream(200, &[], async move |mut body| {
                if n > 0 {
                    body.write(vec![b'x'; n as usize]).await?;
                }
                panic!("/trap-at was asked for")
            })
        }
        "/set-headers" => set_headers(query),
        "/timeouts" => match fetch(query).await {
            Ok(body) => text(200, format!("ok {}\n", body.len())),
            Err(code) => text(200, format!("{code:?}\n")),
        },
        "/stream-size" => stream_size(query),
        // One write of so much to stdout. Says how much of it was taken.
        "/print-once" => {
            let n = query.number("n").unwrap_or(1) as usize;
            let (mut writer, reader) = wit_stream::new();
            let _done = wasip3::cli::stdout::write_via_stream(reader);
            let (_, rest) = writer.write(vec![b'x'; n]).await;
            text(200, (n - rest.remaining()).to_string())
        }
        "/waitable-sets" => {
            let n = query.number("n").unwrap_or(1);
            for _ in 0..n {
                // SAFETY: it takes nothing.
                unsafe { waitable_set_new() };
            }
            text(200, format!("made {n}\n"))
        }
        _ => text(404, "not found\n"),
    }
}

#[link(wasm_import_module = "$root")]
unsafe extern "C" {
    #[link_name = "[waitable-set-new]"]
    fn waitable_set_new() -> u32;
}

fn recurse(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 32]);
    recurse(n + 1) + frame[(n % 32) as usize]
}

/// Reads or writes a stream of its own, with a size that no memory has.
fn stream_size(query: &Query) -> Response {
    let table = <u8 as StreamPayload>::VTABLE;
    let size = query.number("n").unwrap_or(1) as usize;
    let mut place = [0; 16];
    // SAFETY: none, this is what the host has to refuse. Nothing is read that would have been written.
    let code = unsafe {
        let both = (table.new)();
        let (reader, writer) = (both as u32, (both >> 32) as u32);
        match query.get("op") {
            Some("write") => (table.start_write)(writer, place.as_ptr(), size),
            Some("both") => {
                (table.start_write)(writer, place.as_ptr(), 16);
                (table.start_read)(reader, place.as_mut_ptr(), size)
            }
            _ => (table.start_read)(reader, place.as_mut_ptr(), size),
        }
    };
    text(200, format!("{code:x}\n"))
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
fn set_headers(query: &Query) -> Response {
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
    let (mut body, contents) = wit_stream::new();
    let (end, reader) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, _transmitted) = Response::new(headers, Some(contents), reader);
    spawn_local(async move {
        body.write_all(format!("{taken:?}\n").into_bytes()).await;
        drop(body);
        let _ = end.write(Ok(Some(trailers))).await;
    });
    response
}

/// Makes a request with timeouts in nanoseconds.
async fn fetch(query: &Query) -> Result<Vec<u8>, ErrorCode> {
    let (_, authority, path) = query.get("url").and_then(split_url).expect("a URL");
    let options = RequestOptions::new();
    options.set_connect_timeout(query.number("connect")).expect("an option");
    options.set_first_byte_timeout(query.number("first")).expect("an option");
    options.set_between_bytes_timeout(query.number("between")).expect("an option");
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    let (request, _transmitted) = Request::new(Fields::new(), None, trailers, Some(options));
    drop(no_trailers);
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(path)).expect("a path");
    let response = client::send(request).await?;
    let (_verdict, result) = wit_future::new(|| Ok(()));
    let (mut input, end) = Response::consume_body(response, result);
    let mut body = Vec::new();
    while let Some(chunk) = read(&mut input).await {
        body.extend(chunk);
    }
    end.await?;
    Ok(body)
}

//! # The demo component of Millpond
//!
//! A small web server as a WebAssembly component, for wasi:http 0.3. It is a starting point for
//! your own: copy this folder, and build it with
//!
//! ```sh
//! rustup target add wasm32-wasip2
//! cargo build --release --target wasm32-wasip2
//! millpond serve target/wasm32-wasip2/release/millpond_demo.wasm
//! ```
//!
//! A component does not listen on a port. It exports one function, `handle`, from a request to a
//! response, and Millpond calls it. That is `Demo::handle` below; [`route`] picks the answer, and
//! [`respond`] turns it into what wasi:http wants.
//!
//! | path         | answer                                                    |
//! |--------------|-----------------------------------------------------------|
//! | `/`          | a page with the number of the request and of the instance |
//! | `/counter`   | how often this instance was asked for it                  |
//! | `/slow?ms=N` | comes after N milliseconds                                |
//! | `/stream`    | ten lines, one every 200 milliseconds                     |

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::random::random::get_random_u64;
use wasip3::{spawn_local, wit_future, wit_stream};

mod page;

// Statics are as old as the instance. Millpond keeps instances and gives them one request after
// the other, or several at once, so these count on; a new instance starts afresh.
static REQUESTS: AtomicU64 = AtomicU64::new(0);
static COUNTER: AtomicU64 = AtomicU64::new(0);
static INSTANCE: LazyLock<u64> = LazyLock::new(get_random_u64);

struct Demo;

wasip3::http::service::export!(Demo);

impl wasip3::exports::http::handler::Guest for Demo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let answer = route(&request).await;
        let with_body = !matches!(request.get_method(), Method::Head);
        Ok(respond(answer, with_body))
    }
}

/// What a route answers.
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Body,
}

enum Body {
    /// All of it.
    Text(String),
    /// Ten lines, one after the other.
    Lines,
}

async fn route(request: &Request) -> Answer {
    let number = REQUESTS.fetch_add(1, Relaxed) + 1;
    let target = request.get_path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));

    match path {
        "/" => Answer {
            status: 200,
            content_type: "text/html; charset=utf-8",
            body: Body::Text(page::render(number, *INSTANCE)),
        },
        "/counter" => text(200, format!("{}\n", COUNTER.fetch_add(1, Relaxed) + 1)),
        "/slow" => match milliseconds(query) {
            Ok(ms) => {
                // While this one waits, the instance can serve others.
                wait_for(ms * 1_000_000).await;
                text(200, format!("That took {ms} ms.\n"))
            }
            Err(message) => text(400, message),
        },
        "/stream" => {
            Answer { status: 200, content_type: "text/plain; charset=utf-8", body: Body::Lines }
        }
        _ => text(404, "There is nothing here. Try /, /counter, /slow?ms=500 or /stream.\n"),
    }
}

fn text(status: u16, text: impl Into<String>) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: Body::Text(text.into()) }
}

/// The `ms` in a query: half a second if there is none, at most a minute.
fn milliseconds(query: &str) -> Result<u64, &'static str> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("ms="));
    match value.unwrap_or("500").parse() {
        Ok(ms @ 0..=60_000) => Ok(ms),
        _ => Err("ms has to be a whole number from 0 to 60000, as in /slow?ms=500\n"),
    }
}

/// Makes a response for wasi:http. Its body is a stream, written by a task of its own: the head is
/// on its way as soon as this returns.
fn respond(answer: Answer, with_body: bool) -> Response {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[answer.content_type.into()]);
    if let (Body::Text(text), true) = (&answer.body, with_body) {
        let _ = headers.set("content-length", &[text.len().to_string().into()]);
    }

    // What comes after the body: no trailers, and no error. That is the default value here, which
    // is sent when `end` is dropped. Until then the response is not complete.
    let (end, trailers) = wit_future::new(|| Ok(None));

    if !with_body {
        let (response, _sent) = Response::new(headers, None, trailers);
        let _ = response.set_status_code(answer.status);
        return response;
    }

    let (mut body, contents) = wit_stream::new();
    let (response, _sent) = Response::new(headers, Some(contents), trailers);
    let _ = response.set_status_code(answer.status);
    spawn_local(async move {
        // `write_all` returns what it could not write: something, if the client has gone.
        match answer.body {
            Body::Text(text) => drop(body.write_all(text.into()).await),
            Body::Lines => {
                for i in 1..=10 {
                    if i > 1 {
                        wait_for(200_000_000).await;
                    }
                    let line = format!("line {i} of 10\n");
                    if !body.write_all(line.into()).await.is_empty() {
                        break;
                    }
                }
            }
        }
        drop(body);
        drop(end);
    });
    response
}

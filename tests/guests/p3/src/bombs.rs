//! Guests that make the host hold as much as it will.

use std::mem::forget;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use wasip3::{wit_future, wit_stream};

use crate::answer::{sleep, text};
use crate::query::Query;

/// Makes `n` things of a kind, gives none of them back, and says so, `ms` later.
pub(crate) async fn hold(query: &Query) -> Response {
    let n = query.number("n").unwrap_or(1);
    let to = query.get("to").unwrap_or_default();
    for i in 0..n {
        match query.get("kind").unwrap_or_default() {
            "requests" => {
                let request = request();
                let long = "x".repeat(60_000);
                request.set_path_with_query(Some(&format!("/{long}"))).expect("a path");
                request.set_authority(Some(&long)).expect("an authority");
                request.set_method(&Method::Other(long)).expect("a method");
                forget(request);
            }
            "fields" => {
                let fields = Fields::new();
                for (i, len) in (0..4).map(|i| (i, 15_000)) {
                    fields.append(&format!("x-{i}"), &vec![b'x'; len]).expect("a header");
                }
                forget(fields);
            }
            "small-fields" => {
                forget(small_fields());
            }
            // Nothing is left to be seen of them.
            "deleted-fields" => {
                let fields = Fields::new();
                fields.set("x", &vec![Vec::new(); 1500]).expect("values");
                fields.delete("x").expect("mine");
                forget(fields);
            }
            // Thousands of names for one map, and then the room of deleted headers is given back.
            "shared-fields" => {
                let request = request_with(small_fields());
                (0..9000).for_each(|_| forget(request.get_headers()));
                delete();
                forget(request);
            }
            "cloned-fields" => {
                let fields = small_fields();
                (0..9000).for_each(|_| forget(fields.clone()));
                delete();
                forget(fields);
            }
            "empty-fields" => forget(Fields::new()),
            "options" => forget(RequestOptions::new()),
            "streams" => forget(wit_stream::new::<u8>()),
            "futures" => {
                forget(wit_future::new::<Result<Option<Trailers>, ErrorCode>>(|| Ok(None)));
            }
            // How a body went, for the end that made it, which does not ask.
            "results" => {
                let (_, trailers) = wit_future::new(|| Ok(None));
                let (response, transmitted) = Response::new(Fields::new(), None, trailers);
                let (writer, done) = wit_future::new(|| Ok(()));
                forget((Response::consume_body(response, done), transmitted));
                let text = "x".repeat(100_000);
                begin(writer.write(Err(ErrorCode::InternalError(Some(text)))));
            }
            // A byte of each is read, and its connection ends.
            "responses" => {
                let (writer, trailers) = wit_future::new(|| Ok(None));
                let (request, _) = Request::new(Fields::new(), None, trailers, None);
                drop(writer);
                request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
                request.set_authority(Some(to)).expect("an authority");
                request.set_path_with_query(Some("/")).expect("a path");
                let response = client::send(request).await.expect("a response");
                let (writer, done) = wit_future::new(|| Ok(()));
                let (mut body, end) = Response::consume_body(response, done);
                let read = body.read(Vec::with_capacity(1)).await;
                forget((writer, body, end, read));
            }
            "subtasks" => begin(monotonic_clock::wait_for(u64::MAX / 2)),
            "outputs" => {
                let (writer, reader) = wit_stream::new();
                forget((writer, wasip3::cli::stdout::write_via_stream(reader)));
            }
            "unfinished" => {
                let request = request();
                request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
                request.set_authority(Some(to)).expect("an authority");
                request.set_path_with_query(Some("/")).expect("a path");
                begin(client::send(request));
            }
            other => return text(400, format!("no {other:?} at {i}\n")),
        }
    }
    if let Some(ms) = query.number("ms") {
        println!("holds");
        sleep(ms).await;
    }
    text(200, format!("held {n}\n"))
}

fn small_fields() -> Fields {
    let entries: Vec<_> = (0..800).map(|i| (format!("x{i}"), Vec::new())).collect();
    Fields::from_list(&entries).expect("headers")
}

/// Deletes more headers than the host lets pass before it looks for room.
fn delete() {
    let fields = Fields::new();
    (0..20_000).for_each(|_| fields.delete("x").expect("mine"));
}

fn request() -> Request {
    request_with(Fields::new())
}

fn request_with(fields: Fields) -> Request {
    let (writer, trailers) = wit_future::new(|| Ok(None));
    let (request, transmitted) = Request::new(fields, None, trailers, None);
    forget((writer, transmitted));
    request
}

/// Begins something that never ends.
fn begin<T>(what: impl Future<Output = T> + 'static) {
    let mut what: Pin<Box<dyn Future<Output = T>>> = Box::pin(what);
    if let Poll::Pending = what.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        forget(what);
    }
}

/// Calls the host with as much as is asked for.
pub(crate) fn call(query: &Query) -> Response {
    let n = query.number("n").unwrap_or(1) as usize;
    let got = match query.get("kind").unwrap_or_default() {
        "random" => wasip3::random::random::get_random_bytes(n as u64).len(),
        "insecure" => wasip3::random::insecure::get_insecure_random_bytes(n as u64).len(),
        "value" => {
            drop(Fields::new().append("x", &vec![b'x'; n]));
            n
        }
        "values" => {
            drop(Fields::new().set("x", &vec![Vec::new(); n]));
            n
        }
        "entries" => {
            drop(Fields::from_list(&vec![("x".to_owned(), Vec::new()); n]));
            n
        }
        "name" => {
            let _ = Fields::new().has(&"x".repeat(n));
            n
        }
        other => return text(400, format!("no {other:?}\n")),
    };
    text(200, format!("called with {got}\n"))
}

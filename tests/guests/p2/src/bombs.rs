//! Guests that make the host hold as much as it will.

use std::io;
use std::mem::forget;

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions, ResponseOutparam, Scheme,
};
use wasip2::io::poll;

use crate::answer::{sleep, text};
use crate::query::Query;

/// Makes `n` things of a kind, gives none of them back, and says so, `ms` later.
pub(crate) fn hold(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let n = query.number("n").unwrap_or(1);
    let to = query.get("to").unwrap_or_default();
    for i in 0..n {
        match query.get("kind").unwrap_or_default() {
            "bodies" => {
                let request = OutgoingRequest::new(Fields::new());
                forget(fill(&request));
                forget(request);
            }
            "requests" => {
                let request = OutgoingRequest::new(Fields::new());
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
            "empty-fields" => forget(Fields::new()),
            "copied-fields" => {
                let fields = Fields::new();
                fields.append("x", &vec![b'x'; 60_000]).expect("a header");
                let copy = fields.clone();
                copy.append("y", b"y").expect("a header");
                forget((fields, copy));
            }
            // Thousands of names for one map, and then the room of deleted headers is given back.
            "shared-fields" => {
                let request = OutgoingRequest::new(small_fields());
                (0..9000).for_each(|_| forget(request.headers()));
                delete();
                forget(request);
            }
            "cloned-fields" => {
                let fields = small_fields();
                (0..9000).for_each(|_| forget(fields.clone()));
                delete();
                forget(fields);
            }
            // They wait with a request that is not sent.
            "trailers" => {
                let request = OutgoingRequest::new(Fields::new());
                let body = request.body().expect("taken once");
                let _ = OutgoingBody::finish(body, Some(small_fields()));
                forget(request);
            }
            // The room of what was deleted goes with them.
            "deleted-trailers" => {
                let request = OutgoingRequest::new(Fields::new());
                let body = request.body().expect("taken once");
                let trailers = small_fields();
                (0..800).for_each(|i| trailers.delete(&format!("x{i}")).expect("mine"));
                trailers.set("x", &vec![Vec::new(); 1500]).expect("values");
                trailers.delete("x").expect("mine");
                OutgoingBody::finish(body, Some(trailers)).expect("they are empty");
                forget(request);
            }
            "pollables" => forget(monotonic_clock::subscribe_duration(u64::MAX)),
            "options" => forget(RequestOptions::new()),
            "outputs" => forget(wasip2::cli::stdout::get_stdout()),
            "unfinished" => {
                let request = OutgoingRequest::new(Fields::new());
                request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
                request.set_authority(Some(to)).expect("an authority");
                forget(fill(&request));
                forget(outgoing_handler::handle(request, None).expect("a request"));
            }
            other => return text(out, 400, format!("no {other:?} at {i}\n")),
        }
    }
    if let Some(ms) = query.number("ms") {
        println!("holds");
        sleep(ms);
    }
    text(out, 200, format!("held {n}\n"))
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

/// Writes as much of a body as the host takes without sending it.
fn fill(request: &OutgoingRequest) -> OutgoingBody {
    let body = request.body().expect("taken once");
    let stream = body.write().expect("taken once");
    while let Ok(room @ 1..) = stream.check_write() {
        stream.write(&vec![b'x'; room as usize]).expect("there is room");
    }
    forget(stream);
    body
}

/// Calls the host with as much as is asked for.
pub(crate) fn call(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let n = query.number("n").unwrap_or(1) as usize;
    match query.get("kind").unwrap_or_default() {
        "random" => drop(wasip2::random::random::get_random_bytes(n as u64)),
        "insecure" => drop(wasip2::random::insecure::get_insecure_random_bytes(n as u64)),
        "poll" => {
            let ready = monotonic_clock::subscribe_duration(0);
            drop(poll::poll(&vec![&ready; n]));
        }
        "poll-all" => {
            let mut all: Vec<_> =
                (1..n).map(|_| monotonic_clock::subscribe_duration(u64::MAX)).collect();
            all.push(monotonic_clock::subscribe_duration(0));
            drop(poll::poll(&all.iter().collect::<Vec<_>>()));
        }
        "value" => drop(Fields::new().append("x", &vec![b'x'; n])),
        "values" => drop(Fields::new().set("x", &vec![Vec::new(); n])),
        "entries" => drop(Fields::from_list(&vec![("x".to_owned(), Vec::new()); n])),
        "name" => drop(Fields::new().has(&"x".repeat(n))),
        "zeroes" => drop(wasip2::cli::stdout::get_stdout().write_zeroes(n as u64)),
        "print" => drop(wasip2::cli::stdout::get_stdout().write(&vec![b'x'; n])),
        other => return text(out, 400, format!("no {other:?}\n")),
    }
    text(out, 200, format!("called with {n}\n"))
}

//! A wasi:http 0.2 guest which behaves, and misbehaves, on request: every route is something that
//! a server has to live with. The guest for wasi:http 0.3 beside this one has the same routes.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, ResponseOutparam};

mod answer;
mod bodies;
mod bombs;
mod hostile;
mod outbound;
mod query;
mod report;

use answer::{sleep, sleep_for_ever, spin, start, text};
use query::Query;

struct TestGuest;

wasip2::http::proxy::export!(TestGuest);

impl Guest for TestGuest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = Query::split(&target);
        let result = match query.check() {
            Ok(()) => route(path, &query, request, out),
            Err(message) => text(out, 400, message),
        };
        // The reader of the answer has gone, or we lied about its length: nothing left to do here,
        // and the host knows already.
        drop(result);
    }
}

/// Calls of /counter in this instance.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often the work after an answer got to its end in this instance.
static POST_RETURNS: AtomicU64 = AtomicU64::new(0);

fn route(
    path: &str,
    query: &Query,
    request: IncomingRequest,
    out: ResponseOutparam,
) -> io::Result<()> {
    let ms = query.number("ms");
    match path {
        "/hello" => text(out, 200, "hello\n"),
        "/counter" => text(out, 200, format!("{}\n", CALLS.fetch_add(1, Relaxed) + 1)),
        "/status" => match query.get("code").and_then(|code| code.parse().ok()) {
            Some(code @ 100..=999) => start(out, code, &[]).finish(None),
            _ => text(out, 400, "code has to be a status\n"),
        },

        // Bodies.
        "/echo" => bodies::echo(request, out),
        "/drain" => bodies::drain(request, out),
        "/bytes" => bodies::bytes(query, out),
        // As many bytes, at next to no cost for the guest.
        "/fill" => text(out, 200, vec![b'x'; query.number("n").unwrap_or(0) as usize]),
        "/trailers" => {
            let trailers = Fields::new();
            trailers.append("x-checksum", b"42").expect("trailers");
            let mut body = start(out, 200, &[("trailer", "x-checksum")]);
            body.write(b"body\n")?;
            body.finish(Some(trailers))
        }
        // What only the host may say.
        "/proxy-status" => {
            let forged = ("proxy-status", "millpond; error=proxy_internal_error");
            let trailers = Fields::new();
            trailers.append(forged.0, forged.1.as_bytes()).expect("trailers");
            trailers.append("x-checksum", b"42").expect("trailers");
            let mut body = start(out, 200, &[forged, ("trailer", "x-checksum, proxy-status")]);
            body.write(b"body\n")?;
            body.finish(Some(trailers))
        }
        "/drip" => {
            let mut body = start(out, 200, &[]);
            for i in 0..query.number("n").unwrap_or(1) {
                sleep(ms.unwrap_or(0));
                body.write(format!("drip {i}\n").as_bytes())?;
            }
            body.finish(None)
        }
        "/empty-writes" => {
            let mut body = start(out, 200, &[]);
            for _ in 0..query.number("n").unwrap_or(1) {
                body.write_nothing()?;
            }
            body.write(b"end\n")?;
            body.finish(None)
        }

        // Slow, or never done.
        "/sleep" => {
            sleep(ms.unwrap_or(0));
            text(out, 200, "slept\n")
        }
        "/never" => sleep_for_ever(),
        "/spin" => {
            spin(ms);
            text(out, 200, "spun\n")
        }
        "/stall-mid-body" => {
            let _body = bodies::partial(out)?;
            sleep_for_ever()
        }
        "/spin-mid-body" => {
            let _body = bodies::partial(out)?;
            spin(None);
            unreachable!()
        }
        "/post-return" => {
            let mut body = start(out, 200, &[]);
            body.write(b"done\n")?;
            body.finish(None)?;
            sleep(ms.unwrap_or(0));
            POST_RETURNS.fetch_add(1, Relaxed);
            println!("post-return done");
            Ok(())
        }
        "/post-return-count" => text(out, 200, format!("{}\n", POST_RETURNS.load(Relaxed))),

        // Failures.
        "/no-response" => Ok(()),
        "/trap" => panic!("/trap was asked for"),
        "/trap-mid-body" => {
            let _body = bodies::partial(out)?;
            panic!("/trap-mid-body was asked for")
        }
        "/abort-body" => {
            bodies::partial(out)?.abort();
            Ok(())
        }
        "/exit" => {
            let code = query.get("code").and_then(|code| code.parse().ok()).unwrap_or(0);
            if query.get("when") == Some("after") {
                text(out, 200, "exiting\n")?;
            }
            wasip2::cli::exit::exit_with_code(code);
            Ok(())
        }
        "/error" => match outbound::error_code(query.get("code").unwrap_or_default()) {
            Some(code) => {
                ResponseOutparam::set(out, Err(code));
                Ok(())
            }
            None => text(out, 400, "no such error-code here\n"),
        },
        "/alloc" => {
            let mib = query.number("mib").unwrap_or(1);
            // Filled, so that every page is touched; black_box, so that it is not optimised away.
            let memory = vec![1_u8; (mib as usize) << 20];
            std::mem::forget(std::hint::black_box(memory));
            text(out, 200, format!("allocated {mib}\n"))
        }

        // The world around.
        "/print" => report::print(query, out),
        "/env" => report::env(out),
        "/args" => report::args(out),
        "/request" => report::request(&request, out),
        "/read" => report::read(query, out),
        "/random" => report::random(out),
        "/write" => report::write(query, out),
        "/list" => report::list(query, out),
        "/open-many" => report::open_many(query, out),
        "/sockets" => report::sockets(out),
        "/fetch-many" => outbound::fetch_many(query, out),
        "/fetch" => outbound::fetch(query, out),

        // Attacks.
        "/hold" => bombs::hold(query, out),
        "/call" => bombs::call(query, out),

        _ => hostile::route(path, query, out),
    }
}

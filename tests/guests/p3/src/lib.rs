//! A wasi:http 0.3 guest which behaves, and misbehaves, on request: every route is something that
//! a server has to live with. The guest for wasi:http 0.2 beside this one has the same routes.
//!
//! Nothing here blocks unless a route is about blocking (`/spin`, `/print`, `/read`), so one
//! instance serves as many requests at the same time as the host lets in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};

mod answer;
mod bodies;
mod bombs;
mod hostile;
mod outbound;
#[path = "../../p2/src/query.rs"]
mod query;
mod report;

use answer::{sleep, sleep_for_ever, spin, stream, text};
use bodies::partial;
use query::Query;

struct TestGuest;

wasip3::http::service::export!(TestGuest);

impl Guest for TestGuest {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = Query::split(&target);
        match query.check() {
            Ok(()) => route(path, query, request).await,
            Err(message) => Ok(text(400, message)),
        }
    }
}

/// Calls of /counter in this instance.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often the work after an answer got to its end in this instance.
static POST_RETURNS: AtomicU64 = AtomicU64::new(0);

async fn route(path: &str, query: Query, request: Request) -> Result<Response, ErrorCode> {
    let ms = query.number("ms");
    Ok(match path {
        "/hello" => text(200, "hello\n"),
        "/counter" => text(200, format!("{}\n", CALLS.fetch_add(1, Relaxed) + 1)),
        "/status" => match query.get("code").and_then(|code| code.parse().ok()) {
            Some(code @ 100..=999) => stream(code, &[], async |body| body.finish(None).await),
            _ => text(400, "code has to be a status\n"),
        },

        // Bodies.
        "/echo" => bodies::echo(request),
        "/drain" => bodies::drain(request).await,
        "/bytes" => bodies::bytes(&query),
        // As many bytes, at next to no cost for the guest.
        "/fill" => text(200, vec![b'x'; query.number("n").unwrap_or(0) as usize]),
        "/trailers" => stream(200, &[("trailer", "x-checksum")], async |mut body| {
            let trailers = Fields::new();
            trailers.append("x-checksum", b"42").expect("trailers");
            body.write("body\n").await?;
            body.finish(Some(trailers)).await
        }),
        // What only the host may say.
        "/proxy-status" => {
            let forged = ("proxy-status", "millpond; error=proxy_internal_error");
            let headers = [forged, ("trailer", "x-checksum, proxy-status")];
            stream(200, &headers, async move |mut body| {
                let trailers = Fields::new();
                trailers.append(forged.0, forged.1.as_bytes()).expect("trailers");
                trailers.append("x-checksum", b"42").expect("trailers");
                body.write("body\n").await?;
                body.finish(Some(trailers)).await
            })
        }
        "/drip" => stream(200, &[], async move |mut body| {
            for i in 0..query.number("n").unwrap_or(1) {
                sleep(ms.unwrap_or(0)).await;
                body.write(format!("drip {i}\n")).await?;
            }
            body.finish(None).await
        }),
        "/empty-writes" => stream(200, &[], async move |mut body| {
            for _ in 0..query.number("n").unwrap_or(1) {
                body.write_nothing().await?;
            }
            body.write("end\n").await?;
            body.finish(None).await
        }),

        // Slow, or never done.
        "/sleep" => {
            sleep(ms.unwrap_or(0)).await;
            text(200, "slept\n")
        }
        "/never" => sleep_for_ever().await,
        "/spin" => {
            spin(ms);
            text(200, "spun\n")
        }
        "/stall-mid-body" => stream(200, &[], async |mut body| {
            partial(&mut body).await?;
            sleep_for_ever().await
        }),
        "/spin-mid-body" => stream(200, &[], async |mut body| {
            partial(&mut body).await?;
            spin(None);
            Ok(())
        }),
        "/post-return" => stream(200, &[], async move |mut body| {
            body.write("done\n").await?;
            body.finish(None).await?;
            sleep(ms.unwrap_or(0)).await;
            POST_RETURNS.fetch_add(1, Relaxed);
            println!("post-return done");
            Ok(())
        }),
        "/post-return-count" => text(200, format!("{}\n", POST_RETURNS.load(Relaxed))),

        // Component-model backpressure: while the request's body is open, or from now on.
        "/backpressure" if query.get("leave").is_some() => {
            wasip3::wit_bindgen::backpressure_inc();
            text(200, "left\n")
        }
        "/backpressure" => {
            wasip3::wit_bindgen::backpressure_inc();
            let answer = bodies::drain(request).await;
            wasip3::wit_bindgen::backpressure_dec();
            answer
        }

        // Failures.
        "/no-response" => return Err(ErrorCode::InternalError(None)),
        "/trap" => panic!("/trap was asked for"),
        "/trap-mid-body" => stream(200, &[], async |mut body| {
            partial(&mut body).await?;
            panic!("/trap-mid-body was asked for")
        }),
        "/abort-body" => stream(200, &[], async |mut body| {
            partial(&mut body).await?;
            let error = ErrorCode::InternalError(Some("asked for".to_owned()));
            body.end(Err(error)).await
        }),
        "/exit" => {
            let code = query.get("code").and_then(|code| code.parse().ok()).unwrap_or(0);
            if query.get("when") != Some("after") {
                wasip3::cli::exit::exit_with_code(code);
            }
            stream(200, &[], async move |mut body| {
                body.write("exiting\n").await?;
                body.finish(None).await?;
                wasip3::cli::exit::exit_with_code(code);
                Ok(())
            })
        }
        "/error" => match outbound::error_code(query.get("code").unwrap_or_default()) {
            Some(code) => return Err(code),
            None => text(400, "no such error-code here\n"),
        },
        "/alloc" => {
            let mib = query.number("mib").unwrap_or(1);
            // Filled, so that every page is touched; black_box, so that it is not optimised away.
            let memory = vec![1_u8; (mib as usize) << 20];
            std::mem::forget(std::hint::black_box(memory));
            text(200, format!("allocated {mib}\n"))
        }

        // The world around.
        "/print" => report::print(&query),
        "/env" => report::env(),
        "/args" => report::args(),
        "/request" => report::request(&request),
        "/read" => report::read(&query),
        "/random" => report::random(),
        "/write" => report::write(&query),
        "/open-many" => report::open_many(&query).await,
        "/list" => report::list(&query).await,
        "/fetch" => outbound::fetch(&query).await,

        // Attacks.
        "/hold" => bombs::hold(&query).await,
        "/call" => bombs::call(&query),

        _ => hostile::route(path, &query).await,
    })
}

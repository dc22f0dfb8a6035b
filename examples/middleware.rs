//! Tower middleware around a pool, and why its order matters.
//!
//! ```sh
//! cargo run --release -p millpond-examples --example middleware [COMPONENT]
//!
//! curl -i localhost:3000/counter          # 200
//! curl -i localhost:3000/slow?ms=60000    # 504 after ten seconds
//! # Twice as many as are let in: 100 times 200, and 503 for the others.
//! curl -s -o /dev/null -w '%{http_code}\n' --parallel 'localhost:3000/counter?[1-200]' | sort | uniq -c
//! curl localhost:3000/stats               # outside of the middleware, so never refused
//! ```
//!
//! These variables change what is let in, to see what happens: `RATE` requests (100) each
//! `PERIOD_MS` (1000), `CONCURRENCY` (64) at a time, `TIMEOUT_MS` (10000) for each, `INSTANCES` (8).
//! `ADDR` is the address to listen on, `127.0.0.1:3000` if there is none.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::http::{StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{BoxError, Router};
use millpond::{ErrorKind, PoolService, WasiHost, WasmPool, response};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `MILLPOND_DEMO` is set by this package's build script. Name a file of yours instead.
    let component = env::args_os().nth(1).unwrap_or_else(|| env!("MILLPOND_DEMO").into());
    let instances = setting("INSTANCES", 8)?;
    let concurrency = setting("CONCURRENCY", 64)?;
    let (rate, period) = (setting("RATE", 100)?, millis(setting("PERIOD_MS", 1000)?));
    let timeout = millis(setting("TIMEOUT_MS", 10_000)?);

    let pool = WasmPool::builder(WasiHost::new())
        .limits(move |limits| {
            limits.max_instances = instances as usize;
            // What no instance has room for shall be refused, not wait: see `load_shed` below.
            limits.max_queue = 0;
        })
        .from_file(component)?;

    // From the outermost to the innermost.
    let guest = ServiceBuilder::new()
        // Makes responses of errors. Outermost, as any layer below may fail, and axum takes only
        // services that do not.
        .layer(HandleErrorLayer::new(error_response))
        // axum calls a fresh clone for each request (so does hyper-util's `TowerToHyperService`),
        // and a rate limit has no clones: each would let in as many again. With a buffer, what is
        // below exists once, owned by a task, and a clone is a handle that sends it requests. The
        // task never waits, as a load shed is always ready, so hardly anything is ever buffered.
        // The other way round it would be: a buffer is ready while it has room, so the load shed
        // would see no limit before 64 requests wait in there.
        .buffer(64)
        // Asks all that is below whether it is ready (`poll_ready`), and if not, refuses. Without
        // it requests would wait, and nothing would bound how many: axum itself is always ready.
        .load_shed()
        // How many may wait for a response head at a time. To be ready is to have set a place
        // aside, while those below are asked; so the cheap limits come first, and the pool's places
        // last. Only a call uses a place up: what one limit refuses costs nothing of the others.
        .concurrency_limit(concurrency as usize)
        .rate_limit(rate, period)
        // Until the response head. Innermost, so that it is the pool's time that counts, and none
        // of the waiting above. It drops the future, and with that the pool cancels the request: a
        // guest alone on its instance is stopped, one beside others may go on until
        // `Limits::request_timeout`. For bodies there is `Builder::body_stall_timeout`.
        .timeout(timeout)
        // Reserves a place in the pool in `poll_ready`: the backpressure that the load shed sees.
        // It is held until the body ends, which the concurrency limit above does not see.
        .service(PoolService::new(pool.clone()));

    // One service, made once, is mounted. `Router::layer` would make a service for each of the
    // router's routes, and with it a limit for each.
    let app =
        Router::new().route("/stats", get(async move || stats(&pool))).fallback_service(guest);

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(addr).await?;
    println!("Listening on http://{}/", listener.local_addr()?);
    // Else what follows a response head waits for the client's delayed acknowledgement: 40 ms.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await?;
    Ok(())
}

/// Tells the client in the words of the pool, with `Retry-After` and `Proxy-Status`.
async fn error_response(version: Version, error: BoxError) -> Response {
    if let Some(error) = find::<millpond::Error>(&*error) {
        return response::from_error(error, version).into_response();
    }
    let kind = if find::<Overloaded>(&*error).is_some() {
        ErrorKind::Overloaded
    } else if find::<Elapsed>(&*error).is_some() {
        ErrorKind::RequestTimeout
    } else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    response::from_error(&millpond::Error::new(kind), version).into_response()
}

/// An error of this type, or the one it was caused by: a buffer wraps those of `poll_ready`.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref())
}

fn stats(pool: &WasmPool) -> String {
    let now = pool.snapshot();
    let running = now.busy + now.pinned + now.streaming;
    format!("requests: {} submitted, {running} running\n", now.submitted)
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> Result<u64, String> {
    match env::var(name) {
        Ok(number) => number.parse().map_err(|error| format!("{name}: {error}")),
        Err(_) => Ok(default),
    }
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

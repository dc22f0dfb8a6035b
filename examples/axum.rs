//! A component in axum, beside routes in Rust.
//!
//! The component is mounted twice, and both mounts are one pool: under `/guest`, and for every
//! path that has no route of its own. Ctrl-C lets what runs come to its end.
//!
//! ```sh
//! cargo run --release -p millpond-examples --example axum [COMPONENT]
//!
//! curl localhost:3000/native          # answered by Rust
//! curl localhost:3000/counter         # by the component: 1
//! curl localhost:3000/guest/counter   # by the same instance: 2
//! curl localhost:3000/stats
//! curl localhost:3000/stream          # press Ctrl-C meanwhile: all ten lines come
//! ```
//!
//! `ADDR` is the address to listen on, `127.0.0.1:3000` if there is none.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use millpond::{InfallibleService, Snapshot, WasiHost, WasmPool};
use tokio::net::TcpListener;

/// How long what runs may go on after Ctrl-C. A second one ends it at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `MILLPOND_DEMO` is set by this package's build script. Name a file of yours instead.
    let component = env::args_os().nth(1).unwrap_or_else(|| env!("MILLPOND_DEMO").into());

    // This compiles, and that blocks; here nothing else runs yet.
    let pool = WasmPool::builder(WasiHost::new())
        .limits(|limits| limits.max_instances = 100)
        .from_file(component)?;

    // axum waits for no service: it calls a clone for each request, ready or not. That is what
    // `InfallibleService` is for; with no place in the pool, it answers 503 at once.
    let guest = InfallibleService::new(pool.clone());
    let watched = pool.clone();
    let app = Router::new()
        .route("/native", get(async || "answered by Rust\n"))
        .route("/stats", get(async move || stats(&watched.snapshot())))
        // The guest sees `/counter`, not `/guest/counter`.
        .nest_service("/guest", guest.clone())
        .fallback_service(guest);

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(addr).await?;
    println!("Listening on http://{}/", listener.local_addr()?);

    let finished = async {
        // First the connections: no new ones, and who waits for an answer gets it.
        // Else what follows a response head waits for the client's delayed acknowledgement: 40 ms.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, app).with_graceful_shutdown(ctrl_c()).await?;
        // Then the instances: guests may still be at work after their last response.
        pool.drain().await;
        Ok::<_, Box<dyn Error>>(())
    };
    // An endless body, or a client that reads nothing, must not keep the process alive.
    let too_long = async {
        ctrl_c().await;
        let _second = tokio::time::timeout(DRAIN_TIMEOUT, ctrl_c()).await;
    };
    tokio::select! {
        finished = finished => finished,
        () = too_long => {
            pool.stop();
            Ok(())
        }
    }
}

/// Each call of this ends with the next Ctrl-C, so several can wait for the same one.
async fn ctrl_c() {
    tokio::signal::ctrl_c().await.expect("a process can listen to Ctrl-C");
}

/// What one wants to see at a glance; a `Snapshot` has more.
fn stats(now: &Snapshot) -> String {
    let mut text = format!(
        "requests: {} answered, {} failed, {} refused, {} running, {} queued\n\
         instances: {} live, {} idle\n",
        now.responded,
        now.failed,
        now.refused,
        now.busy + now.pinned + now.streaming,
        now.queued,
        now.instances.live(),
        now.instances.idle,
    );
    for (reason, count) in now.retired.iter().filter(|(_, count)| *count > 0) {
        let _ = writeln!(text, "retired for {reason}: {count}");
    }
    text
}

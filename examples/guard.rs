//! An http-wasm guest that guards a route of an axum application.
//!
//! `/admin` asks the guest first, which lets pass who has the token; other routes do not. The guest is a plain
//! WebAssembly module: another one can take its place while the server runs.
//!
//! ```sh
//! cargo run --release -p millpond-examples --example guard [MODULE]
//!
//! curl localhost:3000/                                             # open to all
//! curl -i localhost:3000/admin                                     # 401, from the guest
//! curl -H 'Authorization: Bearer sesame' localhost:3000/admin      # by Rust, behind the guest
//! curl localhost:3000/stats
//! curl -X POST -H 'Authorization: Bearer sesame' localhost:3000/admin/reload   # reads MODULE again
//! ```
//!
//! `TOKEN` is the token, `sesame` if there is none, and `ADDR` the address to listen on, `127.0.0.1:3000` if there
//! is none.

use std::env;
use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use millpond::http_wasm::{HttpWasmLayer, HttpWasmPool};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `MILLPOND_GUARD` is set by this package's build script. Name a file of yours instead.
    let module = env::args_os().nth(1).unwrap_or_else(|| env!("MILLPOND_GUARD").into());
    let token = env::var("TOKEN").unwrap_or_else(|_| "sesame".into());

    let pool = HttpWasmPool::builder()
        .config(token.into_bytes())
        .limits(|limits| limits.max_instances = 100)
        // Where axum says whom a request is from.
        .source_addr(|extensions| {
            let ConnectInfo(addr) = extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(*addr)
        })
        .from_file(&module)
        .await?;

    let (watched, reloaded) = (pool.clone(), pool.clone());
    let admin = Router::new()
        .route("/", get(admin))
        .route("/reload", post(async move || reload(&reloaded, &module).await))
        .layer(HttpWasmLayer::new(pool.clone()));
    let app = Router::new()
        .route("/", get(async || "open to all\n"))
        .route("/stats", get(async move || stats(&watched)))
        .nest("/admin", admin)
        .into_make_service_with_connect_info::<SocketAddr>();

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(addr).await?;
    println!("Listening on http://{}/", listener.local_addr()?);
    // Else what follows a response head waits for the client's delayed acknowledgement: 40 ms.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
    pool.drain().await;
    Ok(())
}

/// Only the guest sets `x-user`.
async fn admin(headers: HeaderMap) -> String {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok());
    format!("hello, {}\n", user.unwrap_or("anonymous"))
}

fn stats(pool: &HttpWasmPool) -> String {
    let now = pool.snapshot();
    format!(
        "requests: {} busy, {} pinned, {} responded, {} failed\n\
         guests: {} idle, {} pinned, {} started\n",
        now.busy,
        now.pinned,
        now.responded,
        now.failed,
        now.instances.idle,
        now.instances.pinned,
        now.starts
    )
}

async fn reload(pool: &HttpWasmPool, module: &std::ffi::OsStr) -> (StatusCode, String) {
    match pool.reload_file(module).await {
        Ok(()) => (StatusCode::OK, "reloaded\n".to_owned()),
        // The pool goes on with the module it has.
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")),
    }
}

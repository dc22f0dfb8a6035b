//! What the tests share: guests, a server with a pool behind it, and clients.
//!
//! The server is axum with the pool as its fallback, the mount that users have. Clients are single
//! connections, HTTP/1.1 or h2c, so that a test says when one closes.
//!
//! Nothing here waits by the clock: tests wait for what must become true, with [`until`], and fail
//! after [`PATIENCE`].

mod client;
pub mod frames;
mod middleware;
mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use millpond::{Builder, Host, HttpVersion, InfallibleService, Snapshot, WasiHost, WasmPool};

pub use client::{Body, Client, Protocol, Reply, empty, full, whole};
pub use middleware::{Front, guest_module};
pub use process::{Process, free_addr, get};

/// How long anything may take before a test fails. Generous: it decides nothing but that.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The test guest of this version. Its routes are in `guests/*/src/lib.rs`.
pub fn guest(version: HttpVersion) -> &'static Path {
    Path::new(match version {
        HttpVersion::P2 => env!("GUEST_P2"),
        _ => env!("GUEST_P3"),
    })
}

/// The binary `millpond`, which `cargo test --workspace` builds.
pub fn millpond() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its path");
    path.pop();
    path.pop();
    path.push("millpond");
    assert!(path.exists(), "no {}: run `cargo build -p millpond-cli` first", path.display());
    path
}

/// A pool of a test guest.
pub async fn pool(
    version: HttpVersion,
    change: impl FnOnce(Builder<WasiHost>) -> Builder<WasiHost>,
) -> WasmPool {
    pool_of(version, change(WasmPool::builder(WasiHost::new()))).await
}

/// A pool of a test guest, with a host of one's own.
pub async fn pool_of<H: Host>(version: HttpVersion, builder: Builder<H>) -> WasmPool<H> {
    let built = tokio::task::spawn_blocking(move || builder.from_file(guest(version)));
    built.await.expect("no panic").expect("the test guest is a component")
}

/// A server with a pool behind it, the mount that users have.
pub type Server<H = WasiHost> = Site<WasmPool<H>>;

impl<H: Host> Server<H> {
    /// Serves a pool.
    pub async fn start(pool: WasmPool<H>) -> Self {
        let app = Router::new().fallback_service(InfallibleService::new(pool.clone()));
        Self::serve(pool, app).await
    }
}

/// A server on a port of its own, with a pool somewhere in it. Dropping it stops accepting.
pub struct Site<P> {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The pool.
    pub pool: P,
    task: tokio::task::JoinHandle<()>,
}

/// What shows how it is.
pub trait Shown {
    /// All gauges and counters.
    fn snapshot(&self) -> Snapshot;
}

impl<H: Host> Shown for WasmPool<H> {
    fn snapshot(&self) -> Snapshot {
        WasmPool::snapshot(self)
    }
}

impl<P: Shown> Site<P> {
    /// Serves an app that has this pool somewhere.
    pub async fn serve(pool: P, app: Router) -> Self {
        let (addr, task) = listen(app).await;
        Self { addr, pool, task }
    }

    /// A new connection.
    pub async fn connect(&self, protocol: Protocol) -> Client {
        Client::connect(self.addr, protocol).await
    }

    /// One GET on a connection of its own, HTTP/1.1, the whole answer.
    pub async fn get(&self, path: &str) -> Reply {
        self.connect(Protocol::Http1).await.get(path).await
    }

    /// Waits until the pool's snapshot is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        until(what, || {
            let snapshot = self.pool.snapshot();
            assert_eq!(snapshot.unaccounted(), 0, "conservation: {snapshot:?}");
            wanted(&snapshot).then_some(snapshot)
        })
        .await
    }
}

impl<P> Drop for Site<P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves an app on a port of its own. It can learn whom its requests are from.
async fn listen(app: Router) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move {
        // Else what follows a head waits for the client's delayed acknowledgement, 40 ms.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("a socket"));
        axum::serve(listener, app).await.expect("axum's serve does not fail");
    });
    (addr, task)
}

/// Waits until `look` sees something.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

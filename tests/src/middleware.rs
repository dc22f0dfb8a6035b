//! Servers with http-wasm guests in front.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::extract::ConnectInfo;
use millpond::Snapshot;
use millpond::http_wasm::{HttpWasmBuilder, HttpWasmLayer, HttpWasmPool};

use crate::{Client, Protocol, Reply, listen, until};

/// The http-wasm guest. Its language is in `guests/http-wasm/src/script.rs`.
pub fn guest_module() -> &'static Path {
    Path::new(env!("GUEST_HTTP_WASM"))
}

/// A server with guests in front of it, on a port of its own. Dropping it stops accepting.
pub struct Front {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The guests.
    pub pool: HttpWasmPool,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    /// A builder that knows where axum has the client's address.
    pub fn builder() -> HttpWasmBuilder {
        HttpWasmPool::builder().source_addr(|extensions| {
            let ConnectInfo(addr) = extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(*addr)
        })
    }

    /// Serves an app behind these guests.
    pub async fn start(pool: HttpWasmPool, app: Router) -> Self {
        let app = app.layer(HttpWasmLayer::new(pool.clone()));
        Self::serve(pool, app).await
    }

    /// Serves an app that has these guests somewhere.
    pub async fn serve(pool: HttpWasmPool, app: Router) -> Self {
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

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

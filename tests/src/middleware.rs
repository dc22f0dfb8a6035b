//! Servers with http-wasm guests in front.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::extract::ConnectInfo;
use millpond::Snapshot;
use millpond::http_wasm::{HttpWasmBuilder, HttpWasmLayer, HttpWasmPool};

use crate::{Shown, Site};

/// The http-wasm guest. Its language is in `guests/http-wasm/src/script.rs`.
pub fn guest_module() -> &'static Path {
    Path::new(env!("GUEST_HTTP_WASM"))
}

/// A server with guests in front of it.
pub type Front = Site<HttpWasmPool>;

impl Shown for HttpWasmPool {
    fn snapshot(&self) -> Snapshot {
        HttpWasmPool::snapshot(self)
    }
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
}

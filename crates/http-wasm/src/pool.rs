//! The pool of an http-wasm module.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::Extensions;
use millpond_engine::BuildError;
use millpond_pool_core::{
    DrainOnDrop, Drained, Error, InstanceEvent, Limits, OwnedPermit, PoolHandle, Reason, Reserve,
    Snapshot, Submitted, Warmed,
};

use crate::build::{FindSource, HttpWasmBuilder, NewModule, read_file};
use crate::instance::driver::GuestDriver;
use crate::instance::reply::{Job, Reply};
use crate::message::budget::BufferBudget;

/// A pool of instances of one http-wasm module. Clones are the same pool; when the last of them is dropped,
/// it drains.
///
/// A [`HttpWasmLayer`](crate::HttpWasmLayer) puts it in front of a service.
///
/// ```no_run
/// use millpond_http_wasm::{HttpWasmLayer, HttpWasmPool};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let guard = HttpWasmPool::builder()
///     .config(*b"secret")
///     .limits(|limits| limits.max_instances = 100)
///     .from_file("guard.wasm")
///     .await?;
///
/// let app = axum::Router::<()>::new()
///     .route("/", axum::routing::get(async || "behind the guard\n"))
///     .layer(HttpWasmLayer::new(guard.clone()));
///
/// guard.reload_file("guard.wasm").await?; // requests that have a guest keep it
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpWasmPool {
    pool: Arc<Inner>,
}

struct Inner {
    handle: DrainOnDrop<GuestDriver>,
    settings: Settings,
    /// One reload at a time: there is one place to try a module in.
    reloading: tokio::sync::Mutex<()>,
}

pub(crate) struct Settings {
    pub(crate) max_body: usize,
    pub(crate) buffers: BufferBudget,
    pub(crate) source: Box<FindSource>,
}

/// The right to one request: a place in the queue or on an instance.
pub(crate) type Permit = OwnedPermit<GuestDriver>;

/// A request that waits for its guest, and where it learns of it.
pub(crate) type Waiting = (Submitted<GuestDriver>, Arc<Reply>);

impl HttpWasmPool {
    /// Makes a pool.
    pub fn builder() -> HttpWasmBuilder {
        HttpWasmBuilder::new()
    }

    pub(crate) fn new(handle: PoolHandle<GuestDriver>, settings: Settings) -> Self {
        let reloading = tokio::sync::Mutex::default();
        Self { pool: Arc::new(Inner { handle: handle.into(), settings, reloading }) }
    }

    /// Puts another module in place of the pool's, with the same configuration. Requests that have a guest
    /// keep it, both their halves; requests that come after this has ended, and those that still wait,
    /// get guests of the new module. Instances of the old one end as soon as they have nothing to do, with
    /// the reason [`Reason::Swap`]; until then they count. A reload waits for the one that is under way. A guest that starts for
    /// a request meanwhile starts anew, in the time that it has.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. The pool goes on with the module that it has.
    pub async fn reload_file(&self, path: impl AsRef<Path>) -> Result<(), BuildError> {
        let turn = self.pool.reloading.lock().await;
        // In its turn: of two reloads, the later one has what is newer.
        let (name, bytes) = read_file(path.as_ref()).await?;
        self.replace(turn, name, bytes, None).await
    }

    /// As [`reload_file`](Self::reload_file), with a module's bytes.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. The pool goes on with the module that it has.
    pub async fn reload_bytes(&self, bytes: impl Into<Vec<u8>>) -> Result<(), BuildError> {
        let turn = self.pool.reloading.lock().await;
        self.replace(turn, "the module".to_owned(), bytes.into(), None).await
    }

    /// As [`reload_bytes`](Self::reload_bytes), with another configuration.
    ///
    /// ```no_run
    /// # async fn reload(guard: millpond_http_wasm::HttpWasmPool) -> Result<(), Box<dyn std::error::Error>> {
    /// guard.reload_with_config(std::fs::read("guard.wasm")?, *b"another token").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. The pool goes on with the module that it has.
    pub async fn reload_with_config(
        &self,
        bytes: impl Into<Vec<u8>>,
        config: impl Into<Arc<[u8]>>,
    ) -> Result<(), BuildError> {
        let turn = self.pool.reloading.lock().await;
        self.replace(turn, "the module".to_owned(), bytes.into(), Some(config.into())).await
    }

    async fn replace(
        &self,
        _turn: tokio::sync::MutexGuard<'_, ()>,
        name: String,
        bytes: Vec<u8>,
        config: Option<Arc<[u8]>>,
    ) -> Result<(), BuildError> {
        let handle = &self.pool.handle;
        let versions = handle.driver().versions();
        let before = versions.current();
        let config = config.unwrap_or_else(|| before.named().1);
        let shared = Arc::clone(before.shared());
        drop(before);
        let new = NewModule { name, bytes, config };
        let new = new.prepare(handle.limits().start_timeout, move |_| Ok(shared)).await?;
        for id in versions.replace(new) {
            handle.report(id, InstanceEvent::Drain(Reason::Swap));
        }
        Ok(())
    }

    /// All gauges and counters, of one moment.
    pub fn snapshot(&self) -> Snapshot {
        self.pool.handle.snapshot()
    }

    /// Requests that have a guest, or wait for one.
    pub fn load(&self) -> usize {
        self.pool.handle.load()
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.pool.handle.limits()
    }

    /// Changes the limits of the running pool; [`concurrency`](Limits::concurrency) stays 1. More instances than the pool was made for start only if the
    /// allocator has room for them.
    pub fn set_limits(&self, mut limits: Limits) {
        limits.concurrency = 1;
        self.pool.handle.set_limits(limits);
    }

    /// Ends when as many instances have started as spares are to be kept ([`Limits::min_idle`]).
    pub fn warmed(&self) -> Warmed<GuestDriver> {
        self.pool.handle.warmed()
    }

    /// Takes no more requests, serves what was submitted, and ends all instances. The future ends
    /// when that is done; the drain goes on without it.
    pub fn drain(&self) -> Drained<GuestDriver> {
        self.pool.handle.drain()
    }

    /// Cuts a drain short: refuses what waits and stops what runs.
    pub fn stop(&self) {
        self.pool.handle.stop();
    }

    pub(crate) fn reserve(&self) -> Reserve<GuestDriver> {
        self.pool.handle.reserve()
    }

    /// Asks for a guest.
    pub(crate) fn submit(&self, permit: Permit) -> Waiting {
        let reply = Arc::new(Reply::default());
        (self.pool.handle.submit(permit, Job::new(Arc::clone(&reply))), reply)
    }

    /// The same, if there is a place now.
    pub(crate) fn try_submit(&self) -> Result<Waiting, Error> {
        let reply = Arc::new(Reply::default());
        match self.pool.handle.try_submit(Job::new(Arc::clone(&reply))) {
            Ok(submitted) => Ok((submitted, reply)),
            Err((error, _)) => {
                if error.kind() == millpond_pool_core::ErrorKind::Overloaded {
                    self.pool.handle.record_rejection();
                }
                Err(error)
            }
        }
    }

    pub(crate) fn max_body(&self) -> usize {
        self.pool.settings.max_body
    }

    pub(crate) fn buffers(&self) -> BufferBudget {
        self.pool.settings.buffers.clone()
    }

    pub(crate) fn source(&self, extensions: &Extensions) -> Option<std::net::SocketAddr> {
        (self.pool.settings.source)(extensions)
    }
}

impl fmt::Debug for HttpWasmPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWasmPool").field("load", &self.load()).finish_non_exhaustive()
    }
}

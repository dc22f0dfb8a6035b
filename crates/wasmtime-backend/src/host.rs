//! What an embedder brings: the data in each store, what else the guest may import, and hooks.

use std::sync::LazyLock;

use millpond_engine::HostLimits;
use millpond_pool_core::{InstanceId, Reason, RequestId, Usage};
use wasmtime::component::Linker;
use wasmtime::{ResourceLimiter, Store, StoreContextMut};
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

/// The embedder's side of a pool. [`WasiHost`](crate::WasiHost) is one that needs no code.
///
/// ```
/// use millpond_wasmtime_backend::{Host, InstanceId, StoreData, wasmtime};
///
/// /// Says on stderr how much memory each guest had at its end.
/// struct Watched;
///
/// impl Host for Watched {
///     type Data = StoreData;
///
///     fn data(&self, _: InstanceId) -> wasmtime::Result<StoreData> {
///         Ok(StoreData::default())
///     }
///
///     fn limiter(data: &mut StoreData) -> &mut dyn wasmtime::ResourceLimiter {
///         data.limiter()
///     }
///
///     fn on_retire(&self, ended: millpond_wasmtime_backend::Ended<'_, StoreData>) {
///         eprintln!("instance {} ended: {}", ended.id, ended.reason);
///     }
/// }
/// ```
pub trait Host: Send + Sync + 'static {
    /// What a store holds. WASI and wasi:http are linked by the pool, from these views.
    type Data: WasiView + WasiHttpView + Send + 'static;

    /// The data of a new instance's store. Like all that is called here, it must not block: an
    /// exclusive instance is started in the future of the request it is for.
    ///
    /// # Errors
    ///
    /// Fail the start, and with it at most the request it was for.
    fn data(&self, id: InstanceId) -> wasmtime::Result<Self::Data>;

    /// What limits the memory and tables of a store.
    fn limiter(data: &mut Self::Data) -> &mut dyn ResourceLimiter;

    /// What a guest holds, for policies such as
    /// [`memory_watermark`](millpond_pool_core::expiration::memory_watermark) and
    /// [`resource_growth`](millpond_pool_core::expiration::resource_growth). Asked when it has finished
    /// a request. By default the resources in its table, and no memory: only the limiter knows of that.
    fn usage(data: &mut Self::Data) -> Usage {
        let mut usage = Usage::default();
        usage.resources = data.ctx().table.iter_mut().count();
        usage
    }

    /// Adds to what guests may import. WASI and wasi:http are there already.
    ///
    /// # Errors
    ///
    /// Fail the making of the pool.
    fn link(&self, linker: &mut Linker<Self::Data>) -> wasmtime::Result<()> {
        let _ = linker;
        Ok(())
    }

    /// Adds to what guests may import where the engine supports concurrency: those of wasi:http 0.3, and others that use
    /// async. Called after [`link`](Self::link).
    ///
    /// # Errors
    ///
    /// Fail the making of the pool.
    fn link_concurrent(&self, linker: &mut Linker<Self::Data>) -> wasmtime::Result<()> {
        let _ = linker;
        Ok(())
    }

    /// Returns whether [`link`](Self::link) provides this import, for instance `acme:cache/store@1.0.0`.
    /// Unsupported imports are reported before the component is compiled.
    fn provides(&self, import: &str) -> bool {
        let _ = import;
        false
    }

    /// Bytes of linear memory that [`limiter`](Self::limiter) lets an instance have; what the
    /// allocator reserves for each.
    fn max_memory(&self) -> usize {
        crate::DEFAULT_MAX_MEMORY
    }

    /// What the host may hold for a guest besides its memory. The pool sees to the limits on calls, handles and
    /// asynchronous state; those on resources are up to [`data`](Self::data), and [`StoreData`](crate::StoreData)
    /// keeps them.
    fn host_limits(&self) -> &HostLimits {
        static DEFAULT: LazyLock<HostLimits> = LazyLock::new(HostLimits::default);
        &DEFAULT
    }

    /// An instance has started. It has not yet been given a request.
    fn on_instance_start(&self, id: InstanceId, store: &mut Store<Self::Data>) {
        let _ = (id, store);
    }

    /// A guest is about to be given a request.
    fn on_request_start(&self, start: RequestStart<'_, Self::Data>) {
        let _ = start;
    }

    /// An instance has ended; the store is dropped after this, off the request path.
    fn on_retire(&self, ended: Ended<'_, Self::Data>) {
        let _ = ended;
    }
}

/// A request that is about to begin, as [`Host::on_request_start`] sees it.
#[non_exhaustive]
pub struct RequestStart<'a, T: 'static> {
    /// On which instance.
    pub id: InstanceId,
    /// Which request.
    pub request_id: RequestId,
    /// Whether the instance serves one at a time: all it does until the next one begins is for
    /// this request.
    pub alone: bool,
    /// The instance's store.
    pub store: StoreContextMut<'a, T>,
}

impl<T: 'static> std::fmt::Debug for RequestStart<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestStart")
            .field("id", &self.id)
            .field("request_id", &self.request_id)
            .finish()
    }
}

/// An instance that has ended, as [`Host::on_retire`] sees it.
#[non_exhaustive]
pub struct Ended<'a, T: 'static> {
    /// Which.
    pub id: InstanceId,
    /// Why.
    pub reason: Reason,
    /// The trap, or whatever else broke it, with its backtrace.
    pub error: Option<&'a wasmtime::Error>,
    /// Its store, to read metrics or a profile from. A store whose guest trapped or was stopped
    /// cannot be called into.
    pub store: &'a mut Store<T>,
}

impl<'a, T: 'static> Ended<'a, T> {
    pub(crate) fn new(
        id: InstanceId,
        reason: Reason,
        error: Option<&'a wasmtime::Error>,
        store: &'a mut Store<T>,
    ) -> Self {
        Self { id, reason, error, store }
    }
}

impl<T: 'static> std::fmt::Debug for Ended<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended").field("id", &self.id).field("reason", &self.reason).finish()
    }
}

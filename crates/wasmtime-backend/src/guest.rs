//! A live guest: a store and what was instantiated in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_pool_core::{InstanceId, Reason};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};

use crate::host::{Ended, Host};

pub(crate) struct Guest<H: Host> {
    pub(crate) store: Store<H::Data>,
    pub(crate) proxy: Proxy,
    /// Set when the guest was interrupted because its tick was over: it computes.
    pub(crate) computes: Arc<AtomicBool>,
}

impl<H: Host> Guest<H> {
    /// A new store with a new instance in it.
    pub(crate) async fn start(
        host: &H,
        pre: &ProxyPre<H::Data>,
        engine: &wasmtime::Engine,
        id: InstanceId,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(engine, host.data(id)?);
        store.limiter(H::limiter);
        let computes = Arc::new(AtomicBool::new(false));
        let interrupted = Arc::clone(&computes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            interrupted.store(true, Ordering::Relaxed);
            // Not wasmtime's own yield: that one wakes into tokio's LIFO slot, and the others on
            // this thread starve (wasmtime #10667).
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let proxy = pre.instantiate_async(&mut store).await?;
        host.on_instance_start(id, &mut store);
        Ok(Self { store, proxy, computes })
    }

    /// Shows the store to the hook and drops it.
    pub(crate) fn end(
        mut self,
        host: &H,
        id: InstanceId,
        reason: Reason,
        error: Option<&wasmtime::Error>,
    ) {
        let ended = Ended::new(id, reason, error, &mut self.store);
        if catch_unwind(AssertUnwindSafe(|| host.on_retire(ended))).is_err() {
            tracing::error!(instance.id = id.number(), "the on_retire hook panicked");
        }
        // The store first: a panic in the drop of the embedder's data must not keep what the
        // allocator gave it.
        let data = self.store.into_data();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(data)));
    }
}

//! A live guest: a store and what was instantiated in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_engine::{begin_ticks, catch_panic};
use millpond_pool_core::{InstanceId, Reason, Usage};
use wasmtime::Store;
use wasmtime_wasi_http::handler::Proxy;

use crate::driver::WasmDriver;
use crate::host::{Ended, Host};
use crate::records::DumpPlace;

/// An instance with more bytes of linear memory than this ends on a thread of its own.
const LARGE: usize = 8 << 20;

pub(crate) struct Guest<H: Host> {
    pub(crate) store: Store<H::Data>,
    pub(crate) proxy: Proxy,
    /// Set when the guest was interrupted because its tick was over: it computes.
    pub(crate) computes: Arc<AtomicBool>,
    /// What was last reported.
    usage: Usage,
}

impl<H: Host> Guest<H> {
    /// A new store with a new instance in it.
    pub(crate) async fn start(driver: &WasmDriver<H>, id: InstanceId) -> wasmtime::Result<Self> {
        let (host, records) = (driver.host(), driver.records());
        let mut store = Store::new(driver.engine(), host.data(id)?);
        store.limiter(H::limiter);
        let limits = host.host_limits();
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_max_component_handles(limits.handles);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(limits.async_entries);
        }
        let computes = Arc::new(AtomicBool::new(false));
        let interrupted = Arc::clone(&computes);
        let mut profile = records.profile(id);
        begin_ticks(&mut store, move |store| {
            interrupted.store(true, Ordering::Relaxed);
            let resumed = profile.as_mut().map(|profile| profile.interrupted(store));
            async move {
                if let Some(resumed) = resumed {
                    resumed.now();
                }
            }
        });
        let proxy = match driver.pre().instantiate_async(&mut store).await {
            Ok(proxy) => proxy,
            Err(error) => return Err(records.not_started(store, id, error).await),
        };
        host.on_instance_start(id, &mut store);
        Ok(Self { store, proxy, computes, usage: Usage::default() })
    }

    /// It has waited, and its tick is over long since: it would be interrupted as soon as it goes on.
    pub(crate) fn begin_tick(&mut self) {
        self.store.set_epoch_deadline(1);
    }

    /// What it holds, if that has changed since this was last asked.
    pub(crate) fn usage(&mut self) -> Option<Usage> {
        let usage = H::usage(self.store.data_mut());
        (std::mem::replace(&mut self.usage, usage) != usage).then_some(usage)
    }

    /// Returns whether its end takes long: the kernel takes back each page that it has touched.
    pub(crate) fn is_large(&self) -> bool {
        self.usage.memory > LARGE
    }

    /// Makes its core dump if there is a place for it, shows the store to the hook, and drops it.
    pub(crate) fn end(
        mut self,
        driver: &WasmDriver<H>,
        id: InstanceId,
        reason: Reason,
        error: Option<&wasmtime::Error>,
        dump: Option<DumpPlace>,
    ) {
        let (host, records, ticks) = (driver.host(), driver.records(), driver.ticks());
        if let (Some(error), Some(dump)) = (error, dump) {
            records.core_dump(&mut self.store, id, error, dump);
        }
        let ended = Ended::new(id, reason, error, &mut self.store);
        // A hook may call into its guest.
        let driven = ticks.drive();
        if catch_panic(|| host.on_retire(ended)).is_err() {
            tracing::error!(instance.id = id.number(), "the on_retire hook panicked");
        }
        drop(driven);
        // The store first, and its profile with it: a panic in the drop of the embedder's data must not
        // keep what the allocator gave it.
        let data = self.store.into_data();
        let _ = catch_panic(|| drop(data));
    }
}

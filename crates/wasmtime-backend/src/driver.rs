//! What the instances of a pool have in common: what they are made from, and where they leave what they report.

use std::future::Future;
use std::sync::Arc;

use millpond_engine::{FailedStarts, MakeExpiration, Ticks, Tokio};
use millpond_pool_core::expiration::BoxExpiration;
use millpond_pool_core::{InstanceId, Runtime};
use wasmtime::Engine;
use wasmtime_wasi_http::handler::ProxyPre;

use crate::host::Host;
use crate::records::Records;

/// The wasmtime side of a pool.
pub struct WasmDriver<H: Host> {
    host: H,
    engine: Engine,
    pre: ProxyPre<H::Data>,
    expiration: MakeExpiration,
    records: Arc<Records>,
    ticks: Ticks,
    runtime: Tokio,
    failed_starts: FailedStarts,
}

impl<H: Host> WasmDriver<H> {
    pub(crate) fn new(
        host: H,
        engine: Engine,
        pre: ProxyPre<H::Data>,
        expiration: MakeExpiration,
        records: Records,
        ticks: Ticks,
    ) -> Self {
        let (runtime, records) = (Tokio::current(), Arc::new(records));
        let failed_starts = FailedStarts::default();
        Self { host, engine, pre, expiration, records, ticks, runtime, failed_starts }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn pre(&self) -> &ProxyPre<H::Data> {
        &self.pre
    }

    pub(crate) fn new_expiration(&self, id: InstanceId) -> BoxExpiration {
        (self.expiration)(id)
    }

    /// For as long as a guest is polled.
    pub(crate) fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    pub(crate) fn tokio(&self) -> &Tokio {
        &self.runtime
    }

    pub(crate) fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn records(&self) -> &Arc<Records> {
        &self.records
    }

    pub(crate) fn failed_starts(&self) -> &FailedStarts {
        &self.failed_starts
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(task));
    }
}

impl<H: Host> std::fmt::Debug for WasmDriver<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmDriver").finish_non_exhaustive()
    }
}

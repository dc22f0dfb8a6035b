//! What a store holds.

use std::collections::HashMap;
use std::sync::Arc;

use millpond_engine::{DEFAULT_MAX_MEMORY, GuestLimits, Tag};
use millpond_pool_core::Usage;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_keyvalue::{WasiKeyValue, WasiKeyValueCtx, WasiKeyValueCtxBuilder};

use super::files::Files;
use super::outbound::Outbound;

/// Resources that one instance may hold at a time. A request of the test guests holds about ten.
const MAX_RESOURCES: usize = 10_000;

/// The data of a store: WASI, wasi:http, resources and limits. An embedder's own data can hold
/// one of these.
pub struct StoreData {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    limits: GuestLimits,
    outbound: Outbound,
    files: Files,
    tag: Option<Arc<Tag>>,
    config: WasiConfigVariables,
    keyvalue: WasiKeyValueCtx,
}

impl Default for StoreData {
    fn default() -> Self {
        Self::new(WasiCtx::builder().build(), DEFAULT_MAX_MEMORY)
    }
}

impl StoreData {
    /// Data with this WASI context, and a limit on the bytes of all linear memory.
    pub fn new(wasi: WasiCtx, max_memory: usize) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            wasi,
            http: WasiHttpCtx::new(),
            table,
            limits: GuestLimits::new(max_memory),
            outbound: Outbound::default(),
            files: Files::default(),
            tag: None,
            config: WasiConfigVariables::default(),
            keyvalue: WasiKeyValueCtxBuilder::new().build(),
        }
    }

    pub(super) fn with_outbound(mut self, outbound: Outbound) -> Self {
        self.outbound = outbound;
        self
    }

    pub(super) fn with_files(mut self, files: Files) -> Self {
        self.files = files;
        self
    }

    pub(super) fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    pub(super) fn with_tag(mut self, tag: Arc<Tag>) -> Self {
        self.tag = Some(tag);
        self
    }

    pub(super) fn with_config(mut self, variables: Option<&HashMap<String, String>>) -> Self {
        for (name, value) in variables.into_iter().flatten() {
            self.config.insert(name, value);
        }
        self
    }

    pub(super) fn with_keyvalue(mut self, data: Option<&[(String, String)]>) -> Self {
        if let Some(data) = data {
            let data = data.iter().cloned();
            self.keyvalue = WasiKeyValueCtxBuilder::new().in_memory_data(data).build();
        }
        self
    }

    /// What limits its store.
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// What its guest holds.
    pub fn usage(&mut self) -> Usage {
        let mut usage = Usage::default();
        usage.memory = self.limits.memory();
        usage.resources = self.table.iter_mut().count();
        usage
    }

    /// `None` in a store whose data an embedder made.
    pub(super) fn tag(&self) -> Option<&Tag> {
        self.tag.as_deref()
    }

    pub(super) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config)
    }

    pub(super) fn keyvalue(&mut self) -> WasiKeyValue<'_> {
        WasiKeyValue::new(&self.keyvalue, &mut self.table)
    }
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for StoreData {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

impl std::fmt::Debug for StoreData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreData").finish_non_exhaustive()
    }
}

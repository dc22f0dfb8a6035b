//! What a store holds.

use std::collections::HashMap;
use std::sync::Arc;

use millpond_engine::{
    Charge, DEFAULT_MAX_MEMORY, GuestLimits, HostLimits, MemoryAccount, MemoryExhausted, Tag,
};
use millpond_pool_core::Usage;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::files::Files;
use super::held::{GuestKind, Held, UnderWay};
use super::hooks::Hooks;
use super::keyvalue::{self, KeyValue, Preset};
use super::outbound::Outbound;

/// The data of a store: WASI, wasi:http, resources and limits. An embedder's own data can hold
/// one of these.
pub struct StoreData {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    limits: GuestLimits,
    /// Of the default if `None`; made when it is needed, as most guests need none.
    files: Option<Files>,
    hooks: Hooks,
    tag: Option<Arc<Tag>>,
    config: WasiConfigVariables,
    keyvalue: KeyValue,
}

impl Default for StoreData {
    fn default() -> Self {
        Self::new(WasiCtx::builder().build(), DEFAULT_MAX_MEMORY)
    }
}

impl StoreData {
    /// Data with this WASI context, and a limit on the bytes of all linear memory. What the host holds for
    /// the guest has the default limits, and is charged to no account.
    pub fn new(wasi: WasiCtx, max_memory: usize) -> Self {
        Self::with_limits(wasi, max_memory, HostLimits::default(), None)
    }

    /// Data with this WASI context and these limits. What the guest holds, and what the host holds for it,
    /// is charged to the account.
    pub fn with_limits(
        wasi: WasiCtx,
        max_memory: usize,
        host: HostLimits,
        account: Option<MemoryAccount>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(host.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(host.call_bytes / 2);
        let held = Held::new(host, Charge::new(account.clone()));
        Self {
            wasi,
            http,
            table,
            limits: GuestLimits::new(max_memory, account),
            files: None,
            hooks: Hooks { outbound: None, held },
            tag: None,
            config: WasiConfigVariables::default(),
            keyvalue: KeyValue::default(),
        }
    }

    /// Charges the account with what an instance is charged from its start.
    pub(super) fn begin(&mut self, kind: GuestKind) -> Result<(), MemoryExhausted> {
        self.hooks.held.begin(kind, self.keyvalue.preset_bytes())
    }

    // In place, as all of it is large, and made for each request.

    pub(super) fn set_outbound(&mut self, outbound: Outbound) {
        self.hooks.outbound = Some(outbound);
    }

    pub(super) fn set_files(&mut self, files: Files) {
        self.files = Some(files);
    }

    /// Counts bytes that are in no table, until what this returns is dropped.
    pub(super) fn under_way(&mut self, bytes: usize) -> UnderWay {
        self.hooks.held.under_way(bytes)
    }

    pub(super) fn files(&mut self) -> &mut Files {
        self.files.get_or_insert_default()
    }

    pub(super) fn set_tag(&mut self, tag: Arc<Tag>) {
        self.tag = Some(tag);
    }

    pub(super) fn set_config(&mut self, variables: &HashMap<String, String>) {
        for (name, value) in variables {
            self.config.insert(name, value);
        }
    }

    pub(super) fn set_keyvalue(&mut self, preset: &Arc<Preset>) {
        self.keyvalue = KeyValue::new(preset);
    }

    /// What limits its store.
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// What its guest holds.
    pub fn usage(&mut self) -> Usage {
        let mut usage = Usage::default();
        usage.memory = self.limits.memory();
        usage.resources = self.hooks.held.settle(&mut self.table);
        usage
    }

    /// `None` in a store whose data an embedder made.
    pub(super) fn tag(&self) -> Option<&Tag> {
        self.tag.as_deref()
    }

    pub(super) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config)
    }

    pub(super) fn keyvalue(&mut self) -> keyvalue::View<'_> {
        self.hooks.held.call(&mut self.table);
        let (table, held) = (&mut self.table, &mut self.hooks.held);
        keyvalue::View { table, held, store: &mut self.keyvalue }
    }
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.hooks.held.call(&mut self.table);
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for StoreData {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.hooks.held.call(&mut self.table);
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl std::fmt::Debug for StoreData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreData").finish_non_exhaustive()
    }
}

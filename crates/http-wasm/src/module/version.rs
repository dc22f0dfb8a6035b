//! One version of a pool's module: what its instances are made of.

use std::sync::Arc;

use millpond_engine::{Console, MemoryAccount, Tag, Ticks};
use millpond_pool_core::InstanceId;
use wasmtime::{Engine, Instance, InstancePre, Linker, Module, Result, Store};

use crate::host;
use crate::host::state::GuestState;
use crate::host::wasi::Wasi;
use crate::module::inspect::ModuleInfo;

pub(crate) struct ModuleVersion {
    name: Arc<str>,
    pre: InstancePre<GuestState>,
    info: ModuleInfo,
    config: Arc<[u8]>,
    shared: Arc<Shared>,
}

/// What all versions have in common.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) max_memory: usize,
    pub(crate) account: Option<MemoryAccount>,
    pub(crate) ticks: Ticks,
    pub(crate) console: Console,
}

impl ModuleVersion {
    /// Compiles and links a module.
    pub(crate) fn new(
        name: &str,
        bytes: &[u8],
        info: ModuleInfo,
        config: Arc<[u8]>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let module = Module::new(&shared.engine, bytes)?;
        let mut linker = Linker::new(&shared.engine);
        host::link(&mut linker, info.wasi)?;
        let pre = linker.instantiate_pre(&module)?;
        Ok(Self { name: name.into(), pre, info, config, shared })
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<GuestState>) -> Result<Instance> {
        self.pre.instantiate_async(store).await
    }

    /// For each guest its own, if the module imports it.
    pub(crate) fn wasi(&self, id: Option<InstanceId>, tag: &Arc<Tag>) -> Option<Wasi> {
        self.info.wasi.then(|| Wasi::new(&self.name, id, &self.shared.console, tag))
    }

    /// For as long as a guest is polled.
    pub(crate) fn ticks(&self) -> &Ticks {
        &self.shared.ticks
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn max_memory(&self) -> usize {
        self.shared.max_memory
    }

    /// What instances are charged to.
    pub(crate) fn memory_account(&self) -> Option<MemoryAccount> {
        self.shared.account.clone()
    }

    /// The name of the module, and what it gets as its configuration.
    pub(crate) fn named(&self) -> (Arc<str>, Arc<[u8]>) {
        (Arc::clone(&self.name), Arc::clone(&self.config))
    }

    pub(crate) fn info(&self) -> ModuleInfo {
        self.info
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

//! A host that needs no code: WASI from settings.

mod data;
mod outbound;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use millpond_engine::{Console, DEFAULT_MAX_MEMORY, DEFAULT_MAX_OUTPUT, Output};
use millpond_pool_core::{InstanceId, Usage};
use wasmtime::ResourceLimiter;
use wasmtime::component::Linker;
use wasmtime_wasi::{FsPerms, WasiCtx};

pub use data::StoreData;
pub use outbound::{Destination, ParseDestinationError};

use crate::host::{Host, RequestStart};
use outbound::Outbound;

/// A [`Host`] made of settings: environment, directories, output, where guests may send requests,
/// and limits.
///
/// ```
/// use millpond_wasmtime_backend::{Output, WasiHost};
///
/// let host = WasiHost::new()
///     .env("GREETING", "hello")
///     .output(Output::Prefixed)
///     .allow_outbound("127.0.0.1:3000".parse().unwrap());
/// ```
#[derive(Debug)]
pub struct WasiHost {
    env: Vec<(String, String)>,
    dirs: Vec<(PathBuf, String)>,
    output: Output,
    max_output: u64,
    outbound: Outbound,
    max_memory: usize,
    config: Option<HashMap<String, String>>,
    keyvalue: Option<Vec<(String, String)>>,
    /// Made of the two above for the first guest.
    console: OnceLock<Console>,
}

impl Default for WasiHost {
    fn default() -> Self {
        Self::new()
    }
}

impl WasiHost {
    /// No environment but `INSTANCE_ID`, the instance's number; no directories, output prefixed on the host's own, requests to anywhere.
    pub fn new() -> Self {
        Self {
            env: Vec::new(),
            dirs: Vec::new(),
            output: Output::default(),
            max_output: DEFAULT_MAX_OUTPUT,
            outbound: Outbound::default(),
            max_memory: DEFAULT_MAX_MEMORY,
            config: None,
            keyvalue: None,
            console: OnceLock::new(),
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets guests read and write a directory, which they see as `guest`.
    #[must_use]
    pub fn dir(mut self, host: impl AsRef<Path>, guest: impl Into<String>) -> Self {
        self.dirs.push((host.as_ref().to_owned(), guest.into()));
        self
    }

    /// What becomes of what guests print.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// How many bytes an instance may print in a second. Four times as many may come at once, and all
    /// instances of a pool together may print as much as 16. What is beyond is lost, counted in
    /// [`cut_output`](crate::cut_output), and logged now and then. Default [`DEFAULT_MAX_OUTPUT`]; 0: no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, bytes: u64) -> Self {
        self.max_output = bytes;
        self
    }

    /// Lets guests send requests there, and to no other place that is not allowed as well.
    #[must_use]
    pub fn allow_outbound(mut self, destination: Destination) -> Self {
        self.outbound.allow(destination);
        self
    }

    /// Lets guests send no requests, except where [`allow_outbound`](Self::allow_outbound) says.
    #[must_use]
    pub fn deny_outbound(mut self) -> Self {
        self.outbound.deny_others();
        self
    }

    /// Bytes of linear memory that an instance may have. Default [`DEFAULT_MAX_MEMORY`].
    #[must_use]
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Provides `wasi:config`, with these variables.
    #[must_use]
    pub fn config(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.config.get_or_insert_default().extend(variables);
        self
    }

    /// Provides `wasi:keyvalue`, in memory; each instance begins with this data.
    #[must_use]
    pub fn keyvalue(mut self, data: impl IntoIterator<Item = (String, String)>) -> Self {
        self.keyvalue.get_or_insert_default().extend(data);
        self
    }
}

impl Host for WasiHost {
    type Data = StoreData;

    fn data(&self, id: InstanceId) -> wasmtime::Result<StoreData> {
        let console = self.console.get_or_init(|| Console::new(self.output, self.max_output));
        let tag = console.tag(Some(id));
        let mut wasi = WasiCtx::builder();
        wasi.env("INSTANCE_ID", id.to_string()).envs(&self.env);
        if let Some([stdout, stderr]) = console.streams(&tag) {
            wasi.stdout(stdout).stderr(stderr);
        }
        for (host, guest) in &self.dirs {
            wasi.preopened_dir(host, guest, FsPerms::ReadWrite)?;
        }
        Ok(StoreData::new(wasi.build(), self.max_memory)
            .with_outbound(self.outbound.clone())
            .with_tag(tag)
            .with_config(self.config.as_ref())
            .with_keyvalue(self.keyvalue.as_deref()))
    }

    fn limiter(data: &mut StoreData) -> &mut dyn ResourceLimiter {
        data.limiter()
    }

    fn usage(data: &mut StoreData) -> Usage {
        data.usage()
    }

    fn link(&self, linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
        if self.config.is_some() {
            wasmtime_wasi_config::add_to_linker(linker, StoreData::config)?;
        }
        if self.keyvalue.is_some() {
            wasmtime_wasi_keyvalue::add_to_linker(linker, StoreData::keyvalue)?;
        }
        Ok(())
    }

    fn provides(&self, import: &str) -> bool {
        (self.config.is_some() && import.starts_with("wasi:config/"))
            || (self.keyvalue.is_some() && import.starts_with("wasi:keyvalue/"))
    }

    fn on_request_start(&self, start: RequestStart<'_, StoreData>) {
        // With several at a time, nobody can say which of them prints.
        let request = start.alone.then_some(start.ticket);
        if let Some(tag) = start.store.data().tag() {
            tag.set_request(request);
        }
    }

    fn max_memory(&self) -> usize {
        self.max_memory
    }
}

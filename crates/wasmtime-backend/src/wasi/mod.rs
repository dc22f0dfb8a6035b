//! A host that needs no code: WASI from settings.

pub(crate) mod bodies;
mod data;
pub(crate) mod fields;
mod files;
mod guest_io;
mod held;
mod hooks;
mod keyvalue;
mod outbound;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use millpond_engine::{
    Console, DEFAULT_MAX_MEMORY, DEFAULT_MAX_OUTPUT, HostLimits, MemoryAccount, Output,
};
use millpond_pool_core::{InstanceId, Usage};
use wasmtime::ResourceLimiter;
use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtx};

pub use data::StoreData;
pub use guest_io::{GuestIo, GuestIoUsage};
pub use outbound::{Destination, ParseDestinationError};

use crate::host::{Host, RequestStart};
use files::Files;
use guest_io::FILES_OF_INSTANCE;
use held::GuestKind;
use keyvalue::Preset;
use outbound::{Outbound, Policy};

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
pub struct WasiHost {
    env: Vec<(String, String)>,
    dirs: Vec<(PathBuf, String, FsPerms)>,
    /// The directories, opened once for all instances.
    opened: OnceLock<WasiFilesystemCtx>,
    output: Output,
    max_output: u64,
    policy: Arc<Policy>,
    io: GuestIo,
    max_outbound: usize,
    max_files: usize,
    max_memory: usize,
    host_limits: HostLimits,
    account: Option<MemoryAccount>,
    config: Option<HashMap<String, String>>,
    keyvalue: Option<Arc<Preset>>,
    /// Set when it is linked for guests of wasi 0.3.
    concurrent: AtomicBool,
    /// Made of the output's settings for the first guest.
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
            opened: OnceLock::new(),
            output: Output::default(),
            max_output: DEFAULT_MAX_OUTPUT,
            policy: Arc::default(),
            io: GuestIo::default(),
            max_outbound: outbound::MAX_PER_INSTANCE,
            max_files: FILES_OF_INSTANCE,
            max_memory: DEFAULT_MAX_MEMORY,
            host_limits: HostLimits::default(),
            account: None,
            config: None,
            keyvalue: None,
            concurrent: AtomicBool::new(false),
            console: OnceLock::new(),
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets guests read and write a directory, which they see as `guest`. What they write is not limited: give them one
    /// that has a quota of its own, or [`dir_read_only`](Self::dir_read_only).
    ///
    /// It is opened once, with the first instance, and stays the same directory if another takes its name.
    #[must_use]
    pub fn dir(mut self, host: impl AsRef<Path>, guest: impl Into<String>) -> Self {
        self.dirs.push((host.as_ref().to_owned(), guest.into(), FsPerms::ReadWrite));
        self
    }

    /// Lets guests read a directory, as [`dir`](Self::dir), but not change anything in it.
    #[must_use]
    pub fn dir_read_only(mut self, host: impl AsRef<Path>, guest: impl Into<String>) -> Self {
        self.dirs.push((host.as_ref().to_owned(), guest.into(), FsPerms::ReadOnly));
        self
    }

    /// Lets an instance have so many files and directories open at a time. Default 100. The directories it is given are
    /// not counted. Beyond it, opening fails with `insufficient-memory`.
    #[must_use]
    pub fn max_files(mut self, count: usize) -> Self {
        self.max_files = count;
        self
    }

    /// Lets an instance have so many requests of its own under way at a time, each from when it is sent until its
    /// connection is closed. Default 64. Beyond it, they fail with `connection-limit-reached`.
    #[must_use]
    pub fn max_outbound(mut self, count: usize) -> Self {
        self.max_outbound = count;
        self
    }

    /// Bounds and counts the files and connections of all instances together. By default, each host has
    /// [one](GuestIo::default) of its own.
    #[must_use]
    pub fn guest_io(mut self, io: GuestIo) -> Self {
        self.io = io;
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
    ///
    /// A link-local address has to be named by itself, or by a range that is link-local.
    #[must_use]
    pub fn allow_outbound(mut self, destination: Destination) -> Self {
        self.policy().allow(destination);
        self
    }

    /// Lets guests send no requests, except where [`allow_outbound`](Self::allow_outbound) says.
    #[must_use]
    pub fn deny_outbound(mut self) -> Self {
        self.policy().deny_others();
        self
    }

    /// Lets guests send no requests to this machine and private networks, except where
    /// [`allow_outbound`](Self::allow_outbound) names the host, or a range that is private: not to loopback, private,
    /// shared, unique local, multicast, documentation and other addresses that are not public.
    #[must_use]
    pub fn deny_private(mut self) -> Self {
        self.policy().deny_private();
        self
    }

    /// Lets guests send no requests to this address, whatever else is allowed: one at which the process itself listens.
    /// Where the address is unspecified (`0.0.0.0`), they cannot reach that port at any address of this machine.
    ///
    /// ```
    /// # use millpond_wasmtime_backend::WasiHost;
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let host = WasiHost::new().deny_address(listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deny_address(mut self, address: SocketAddr) -> Self {
        self.policy().deny_address(address);
        self
    }

    fn policy(&mut self) -> &mut Policy {
        Arc::make_mut(&mut self.policy)
    }

    /// The directories, opened.
    fn filesystem(&self) -> wasmtime::Result<WasiFilesystemCtx> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.clone());
        }
        let mut wasi = WasiCtx::builder();
        for (host, guest, permissions) in &self.dirs {
            wasi.preopened_dir(host, guest, *permissions)?;
        }
        let opened = wasi.build().filesystem().clone();
        Ok(self.opened.get_or_init(|| opened).clone())
    }

    /// Bytes of linear memory that an instance may have. Default [`DEFAULT_MAX_MEMORY`].
    #[must_use]
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Changes the limits on what the host holds for an instance besides its memory.
    ///
    /// ```
    /// use millpond_wasmtime_backend::WasiHost;
    ///
    /// // Guests with a host of their own pass it up to 4 MiB at a time.
    /// let host = WasiHost::new().host_limits(|limits| limits.call_bytes = 4 << 20);
    /// ```
    #[must_use]
    pub fn host_limits(mut self, change: impl FnOnce(&mut HostLimits)) -> Self {
        change(&mut self.host_limits);
        self
    }

    /// Charges all that instances hold to an account, which may be shared by several pools. Beyond its limit,
    /// `memory.grow` fails, and instances that cannot start for want of memory are started later, as if the
    /// allocator were full. A guest for which the host comes to hold more than it was charged for is cut off.
    #[must_use]
    pub fn memory_account(mut self, account: &MemoryAccount) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Provides `wasi:config`, with these variables.
    #[must_use]
    pub fn config(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.config.get_or_insert_default().extend(variables);
        self
    }

    /// Provides `wasi:keyvalue`, in memory; each instance begins with this data. What it stores counts against
    /// [`HostLimits::resource_bytes`], of which it may take half.
    #[must_use]
    pub fn keyvalue(mut self, data: impl IntoIterator<Item = (String, String)>) -> Self {
        Arc::make_mut(self.keyvalue.get_or_insert_default()).extend(data);
        self
    }
}

impl Host for WasiHost {
    type Data = StoreData;

    fn data(&self, id: InstanceId) -> wasmtime::Result<StoreData> {
        let console = self.console.get_or_init(|| Console::new(self.output, self.max_output));
        let tag = console.tag(Some(id));
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(self.host_limits.random_bytes);
        wasi.env("INSTANCE_ID", id.to_string()).envs(&self.env);
        if let Some([stdout, stderr]) = console.streams(&tag) {
            wasi.stdout(stdout).stderr(stderr);
        }
        // No guest makes a socket, nor asks for a name: its way out is wasi:http.
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        let mut wasi = wasi.build();
        if !self.dirs.is_empty() {
            *wasi.filesystem() = self.filesystem()?;
        }
        let outbound = Outbound::new(Arc::clone(&self.policy), self.io.clone(), self.max_outbound);
        let (limits, account) = (self.host_limits.clone(), self.account.clone());
        let mut data = StoreData::with_limits(wasi, self.max_memory, limits, account);
        if let Some(preset) = &self.keyvalue {
            data.set_keyvalue(preset);
        }
        data.begin(GuestKind {
            concurrent: self.concurrent.load(Ordering::Relaxed),
            has_files: !self.dirs.is_empty(),
        })?;
        data.set_outbound(outbound);
        data.set_files(Files::new(self.io.clone(), self.max_files));
        data.set_tag(tag);
        if let Some(variables) = &self.config {
            data.set_config(variables);
        }
        Ok(data)
    }

    fn limiter(data: &mut StoreData) -> &mut dyn ResourceLimiter {
        data.limiter()
    }

    fn usage(data: &mut StoreData) -> Usage {
        data.usage()
    }

    fn link(&self, linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
        linker.allow_shadowing(true);
        files::link_p2(linker)?;
        linker.allow_shadowing(false);
        if self.config.is_some() {
            wasmtime_wasi_config::add_to_linker(linker, StoreData::config)?;
        }
        if self.keyvalue.is_some() {
            keyvalue::link(linker)?;
        }
        Ok(())
    }

    fn link_concurrent(&self, linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
        self.concurrent.store(true, Ordering::Relaxed);
        linker.allow_shadowing(true);
        files::link_p3(linker)?;
        linker.allow_shadowing(false);
        Ok(())
    }

    fn provides(&self, import: &str) -> bool {
        (self.config.is_some() && import.starts_with("wasi:config/"))
            || (self.keyvalue.is_some() && import.starts_with("wasi:keyvalue/"))
    }

    fn on_request_start(&self, start: RequestStart<'_, StoreData>) {
        // With several requests at a time, it is unknown which of them prints.
        let request = start.alone.then_some(start.request_id);
        if let Some(tag) = start.store.data().tag() {
            tag.set_request(request);
        }
    }

    fn max_memory(&self) -> usize {
        self.max_memory
    }

    fn host_limits(&self) -> &HostLimits {
        &self.host_limits
    }
}

impl std::fmt::Debug for WasiHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiHost")
            .field("env", &self.env)
            .field("dirs", &self.dirs)
            .field("output", &self.output)
            .field("policy", &self.policy)
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

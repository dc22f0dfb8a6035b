//! From a component to a pool.

use std::fmt;
use std::path::{Path, PathBuf};

use millpond_engine::{
    BuildError, BuildErrorKind, BuilderBase, CacheChoice, DEFAULT_MAX_SIZE, EngineConfig, Guests,
    read_file, start_epoch_ticker,
};
use millpond_pool_core::expiration::{BoxExpiration, InstanceExpiration};
use millpond_pool_core::{Limits, MaxRequests, PoolHandle, Share, SharedBudget};
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::interfaces::{HttpVersion, Interfaces, InterfacesError};
use crate::pool::WasmPool;
use crate::records::{RecordDirs, RecordLimits, Records};
use crate::wasi::{bodies, fields};

/// Makes a [`WasmPool`]. See there for an example.
pub struct Builder<H: Host> {
    host: H,
    limits: Vec<ChangeLimits>,
    budget: Option<(SharedBudget, Share)>,
    base: BuilderBase,
    records: RecordDirs,
    max_size: usize,
}

type ChangeLimits = Box<dyn FnOnce(&mut Limits) + Send>;

impl<H: Host> Builder<H> {
    pub(crate) fn new(host: H) -> Self {
        let (base, records) = (BuilderBase::default(), RecordDirs::default());
        let (limits, budget, max_size) = (Vec::new(), None, DEFAULT_MAX_SIZE);
        Self { host, limits, budget, base, records, max_size }
    }

    /// Changes the limits. What it is given are the defaults, which depend on the component: with
    /// wasi:http 0.2, each request gets a fresh instance; with 0.3, an instance serves 97 to 128
    /// requests, 16 at a time. A 0.2 guest never serves several at a time, whatever is asked for.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits) + Send + 'static) -> Self {
        self.limits.push(Box::new(change));
        self
    }

    /// Makes the pool's instances count against a budget that it shares with other pools. Where the
    /// share says nothing of memory, each instance counts as the most it may have,
    /// [`Host::max_memory`].
    ///
    /// ```no_run
    /// use millpond_wasmtime_backend::{BudgetLimits, Share, SharedBudget, WasiHost, WasmPool};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let budget = SharedBudget::new(BudgetLimits::instances(100).memory(8 << 30));
    /// let mut guaranteed = Share::default();
    /// guaranteed.guaranteed = 2;
    ///
    /// let quiet = WasmPool::builder(WasiHost::new()).budget(&budget, guaranteed).from_file("a.wasm")?;
    /// let busy = WasmPool::builder(WasiHost::new()).budget(&budget, Share::default()).from_file("b.wasm")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn budget(mut self, budget: &SharedBudget, share: Share) -> Self {
        self.budget = Some((budget.clone(), share));
        self
    }

    /// The policy of each instance, made from what it was before: at first
    /// [`expiration::standard`](millpond_pool_core::expiration::standard),
    /// the timeouts of the pool's limits. Use [`InstanceExpiration::or`] to add to it, or leave it out
    /// and look after them yourself.
    #[must_use]
    pub fn expiration<E: InstanceExpiration>(
        mut self,
        wrap: impl Fn(BoxExpiration) -> E + Send + Sync + 'static,
    ) -> Self {
        self.base = self.base.wrap_expiration(wrap);
        self
    }

    /// Compiles anew each time. By default, compiled code is kept in the user's cache directory.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        self.base.cache = CacheChoice::Off;
        self
    }

    /// Keeps compiled code as this wasmtime cache configuration file says.
    #[must_use]
    pub fn cache_config(mut self, file: impl Into<PathBuf>) -> Self {
        self.base.cache = CacheChoice::File(file.into());
        self
    }

    /// Profiles each instance, and writes what it computed to `NAME-PID-INSTANCE.json` in this
    /// directory when it ends, for <https://profiler.firefox.com>. `NAME` is the stem of the
    /// component's file, or `component`; a file that is there is never overwritten, a number is
    /// appended instead. The directory is made if it is not there.
    ///
    /// An instance is sampled once for each millisecond that it computes, for its first 100 s of
    /// that; not while it waits or in calls of the host. One that was never sampled leaves no file.
    /// It is written when the instance is gone; see [`WasmPool::records_written`]. What [`record_limits`](Self::record_limits) or the disk do not allow is lost, counted in
    /// [`RecordCounts`](crate::RecordCounts), and logged now and then.
    ///
    /// ```no_run
    /// # use millpond_wasmtime_backend::{WasiHost, WasmPool};
    /// # fn build() -> Result<WasmPool, millpond_wasmtime_backend::BuildError> {
    /// WasmPool::builder(WasiHost::new())
    ///     .profile_dir("profiles")
    ///     .coredump_dir("dumps")
    ///     .from_file("app.wasm")
    /// # }
    /// ```
    #[must_use]
    pub fn profile_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.records.profiles = Some(dir.into());
        self
    }

    /// Writes the core dump of each instance that traps to `NAME-PID-INSTANCE.coredump` in this
    /// directory, otherwise as [`profile_dir`](Self::profile_dir). It holds the stack, the globals
    /// and all memory of the guest; on Unix only its owner may read the file.
    ///
    /// With [`from_component`](Self::from_component), the engine's configuration decides whether
    /// there are any (`Config::coredump_on_trap`).
    #[must_use]
    pub fn coredump_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.records.core_dumps = Some(dir.into());
        self
    }

    /// Bounds what this process writes into each of these directories. Besides, it writes one file at a
    /// time, and one in a second once it has written ten. Instances wait for none of it.
    #[must_use]
    pub fn record_limits(mut self, limits: RecordLimits) -> Self {
        self.records.limits = limits;
        self
    }

    /// Bytes that the component's file may have. Default 256 MiB. Compiling takes time and memory that grow with
    /// it, and is done by as many threads as there are cores.
    #[must_use]
    pub fn max_component_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// What randomness is drawn from, for tests that must repeat.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.base.seed = seed;
        self
    }

    /// A pool of a component's file, in the binary or the text format. Compiling can take
    /// seconds: in asynchronous code, call this on a thread where blocking is fine, for instance
    /// within `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime; it needs its timers (`enable_all`).
    pub fn from_file(mut self, path: impl AsRef<Path>) -> Result<WasmPool<H>, BuildError> {
        let path = path.as_ref();
        if let Some(stem) = path.file_stem() {
            self.records.name = stem.to_string_lossy().into_owned();
        }
        let name = path.display().to_string();
        let read = read_file(path, self.max_size);
        let bytes = read.map_err(|error| BuildError::read(&name, error))?;
        self.build(&name, &bytes)
    }

    /// A pool of a component's bytes. As [`from_file`](Self::from_file).
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime; it needs its timers (`enable_all`).
    pub fn from_bytes(self, bytes: &[u8]) -> Result<WasmPool<H>, BuildError> {
        self.build("the component", bytes)
    }

    fn build(self, name: &str, bytes: &[u8]) -> Result<WasmPool<H>, BuildError> {
        self.check_records()?;
        let bytes = wat::parse_bytes(bytes)
            .map_err(|error| BuildError::not_a_guest(name, "component", error))?;
        let interfaces = Interfaces::read(&bytes).map_err(|error| no_guest(name, error))?;
        let version = interfaces.require_version().map_err(|error| no_guest(name, error))?;
        let concurrency = version == HttpVersion::P3 || interfaces.uses_async();
        let missing = interfaces.missing(|import| self.provides(import, concurrency));
        if !missing.is_empty() {
            let text = format!("{name} has unsupported imports: {}", missing.join(", "));
            return Err(BuildError::new(BuildErrorKind::Guest, text));
        }
        let (this, limits) = self.into_limits(version);
        let config = EngineConfig {
            guests: Guests::Components { concurrency },
            max_instances: limits.max_instances,
            max_memory: this.host.max_memory(),
            cache: this.base.cache.clone(),
            core_dumps: this.records.core_dumps.is_some(),
        };
        let engine = config.engine().map_err(|error| BuildError::engine(name, &error))?;
        let component =
            Component::new(&engine, &bytes).map_err(|error| BuildError::compile(name, &error))?;
        this.link(name, &component, version, concurrency, limits)
    }

    /// A pool of a component that is compiled already. Its engine must interrupt by epochs, which
    /// this begins to count; for wasi:http 0.3 it must support concurrency.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime; it needs its timers (`enable_all`).
    pub fn from_component(self, component: &Component) -> Result<WasmPool<H>, BuildError> {
        self.check_records()?;
        let engine = component.engine();
        let ty = component.component_type();
        let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
        let has = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
        let version = if has("wasi:http/handler@0.3.") {
            HttpVersion::P3
        } else if has("wasi:http/incoming-handler@0.2.") {
            HttpVersion::P2
        } else {
            let error = InterfacesError::NoHandler { exports };
            return Err(no_guest("the component", error));
        };
        let (this, limits) = self.into_limits(version);
        let concurrency = version == HttpVersion::P3;
        this.link("the component", component, version, concurrency, limits)
    }

    fn check_records(&self) -> Result<(), BuildError> {
        let checked = self.records.check();
        checked.map_err(|error| BuildError::new(BuildErrorKind::Records, error))
    }

    /// Linked for every guest, or by the host; what only 0.3 guests can use, only for them.
    fn provides(&self, import: &str, concurrency: bool) -> bool {
        let optional = ["wasi:config/", "wasi:keyvalue/"];
        if optional.iter().any(|package| import.starts_with(package)) {
            return self.host.provides(import);
        }
        let known = import.starts_with("wasi:")
            && (concurrency || !import.contains("@0.3"))
            && Interfaces::knows(import);
        known || self.host.provides(import)
    }

    fn into_limits(mut self, version: HttpVersion) -> (Self, Limits) {
        let mut limits = default_limits(version);
        for change in std::mem::take(&mut self.limits) {
            change(&mut limits);
        }
        clamp(version, &mut limits);
        (self, limits)
    }

    fn link(
        self,
        name: &str,
        component: &Component,
        version: HttpVersion,
        concurrency: bool,
        limits: Limits,
    ) -> Result<WasmPool<H>, BuildError> {
        let fail = |error| BuildError::link(name, &error);
        let engine = component.engine();
        let pre = || -> wasmtime::Result<ProxyPre<H::Data>> {
            let mut linker = Linker::<H::Data>::new(engine);
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
            p2::add_only_http_to_linker_async(&mut linker)?;
            if concurrency {
                wasmtime_wasi::p3::add_to_linker(&mut linker)?;
                p3::add_to_linker(&mut linker)?;
            }
            fields::link(&mut linker, concurrency)?;
            bodies::link(&mut linker, concurrency)?;
            self.host.link(&mut linker)?;
            if concurrency {
                self.host.link_concurrent(&mut linker)?;
            }
            let pre = linker.instantiate_pre(component)?;
            Ok(match version {
                HttpVersion::P2 => ProxyPre::P2(p2::bindings::ProxyPre::new(pre)?),
                HttpVersion::P3 => ProxyPre::P3(p3::bindings::ServicePre::new(pre)?),
            })
        };
        let pre = pre().map_err(fail)?;
        let max_memory = self.host.max_memory();
        let ticks = start_epoch_ticker(engine);
        let records = Records::new(self.records, component, ticks.clone()).map_err(fail)?;
        let driver =
            WasmDriver::new(self.host, engine.clone(), pre, self.base.expiration, records, ticks);
        let pool = match self.budget {
            Some((budget, mut share)) => {
                if share.memory == 0 {
                    share.memory = max_memory;
                }
                PoolHandle::with_budget(driver, limits, self.base.seed, &budget, share).map_err(
                    |error| {
                        let text = format!("no room for {name}: {error}");
                        BuildError::new(BuildErrorKind::NoRoom, text).with_source(error)
                    },
                )?
            }
            None => PoolHandle::new(driver, limits, self.base.seed),
        };
        Ok(WasmPool::new(pool, version))
    }
}

fn no_guest(name: &str, error: InterfacesError) -> BuildError {
    BuildError::new(BuildErrorKind::Guest, format_args!("{name}: {error}")).with_source(error)
}

fn default_limits(version: HttpVersion) -> Limits {
    let mut limits = Limits::default();
    if version == HttpVersion::P3 {
        limits.concurrency = 16;
        limits.max_requests = MaxRequests::exactly(128).shortened_by(0.25);
    }
    limits
}

/// A 0.2 guest cannot serve several at a time.
pub(crate) fn clamp(version: HttpVersion, limits: &mut Limits) {
    if version == HttpVersion::P2 && limits.concurrency > 1 {
        let asked = limits.concurrency;
        tracing::warn!(asked, "a wasi:http 0.2 guest serves one request at a time");
        limits.concurrency = 1;
    }
}

impl<H: Host> fmt::Debug for Builder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

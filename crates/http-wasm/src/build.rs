//! From a module to a pool.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Extensions;
use millpond_engine::{
    BuildError, BuildErrorKind, BuilderBase, CacheChoice, Console, DEFAULT_MAX_MEMORY,
    DEFAULT_MAX_OUTPUT, DEFAULT_MAX_SIZE, EngineConfig, Guests, MemoryAccount, Output,
    is_exhaustion, one_line, start_epoch_ticker,
};
use millpond_pool_core::expiration::{BoxExpiration, InstanceExpiration};
use millpond_pool_core::{Limits, MaxRequests, PoolHandle};

use crate::SourceAddr;
use crate::instance::driver::GuestDriver;
use crate::instance::guest::Guest;
use crate::message::budget::BufferBudget;
use crate::module::inspect;
use crate::module::registry::VersionRegistry;
use crate::module::version::{ModuleVersion, Shared};
use crate::pool::{HttpWasmPool, Settings};

/// Bytes of one body that may be held for a guest, unless told otherwise: 16 MiB.
pub const DEFAULT_MAX_BODY: usize = 16 << 20;

/// Makes an [`HttpWasmPool`]. See there for an example.
pub struct HttpWasmBuilder {
    limits: Limits,
    base: BuilderBase,
    config: Arc<[u8]>,
    max_memory: usize,
    max_body: usize,
    buffers: BufferBudget,
    account: Option<MemoryAccount>,
    output: Output,
    max_output: u64,
    source: Box<FindSource>,
}

/// Finds the client's address in what a server says of a request.
pub(crate) type FindSource = dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync;

impl HttpWasmBuilder {
    pub(crate) fn new() -> Self {
        let mut limits = Limits::default();
        limits.max_requests = MaxRequests::unlimited();
        let source = |extensions: &Extensions| extensions.get().map(|SourceAddr(addr)| *addr);
        Self {
            limits,
            base: BuilderBase::default(),
            config: Arc::default(),
            max_memory: DEFAULT_MAX_MEMORY,
            max_body: DEFAULT_MAX_BODY,
            buffers: BufferBudget::default(),
            account: None,
            output: Output::default(),
            max_output: DEFAULT_MAX_OUTPUT,
            source: Box::new(source),
        }
    }

    /// Changes the limits. What it is given are the defaults: 1000 instances, each of which serves any
    /// number of requests, one at a time; otherwise as [`Limits`] says. Each call of the guest has
    /// [`request_timeout`](Limits::request_timeout); until the next handler answers, no time of the guest's
    /// runs, nor while a response streams whose end the guest waits for, unless it is the client that is
    /// slow: it has [`body_stall_timeout`](Limits::body_stall_timeout) to take what is there.
    /// [`concurrency`](Limits::concurrency) is 1 whatever it is set to.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        // A guest has one request at a time: that is what pinning is.
        self.limits.concurrency = 1;
        self
    }

    /// As many instances as there are requests at a time, as the reference host has it: something else
    /// must limit those. Each is allocated when it starts, which takes longer than from a pool of known
    /// size.
    #[must_use]
    pub fn unbounded(self) -> Self {
        self.limits(|limits| limits.max_instances = usize::MAX)
    }

    /// The policy of each instance, made from what it was before: at first
    /// [`expiration::standard`](millpond_pool_core::expiration::standard),
    /// the timeouts of the pool's limits.
    ///
    /// ```
    /// use millpond_http_wasm::HttpWasmPool;
    /// use millpond_pool_core::expiration::{InstanceExpiration, memory_watermark};
    ///
    /// let builder = HttpWasmPool::builder().expiration(|policy| policy.or(memory_watermark(16 << 20)));
    /// ```
    #[must_use]
    pub fn expiration<E: InstanceExpiration>(
        mut self,
        wrap: impl Fn(BoxExpiration) -> E + Send + Sync + 'static,
    ) -> Self {
        self.base = self.base.wrap_expiration(wrap);
        self
    }

    /// What guests get from `get_config`: any bytes. Default: none.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<[u8]>>) -> Self {
        self.config = config.into();
        self
    }

    /// Bytes of linear memory that an instance may have. Default [`DEFAULT_MAX_MEMORY`].
    #[must_use]
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Charges the memory of all instances to an account, which may be shared with other pools. Beyond its limit,
    /// `memory.grow` fails, and instances that cannot start for want of memory are started later, as if the
    /// allocator were full.
    #[must_use]
    pub fn memory_account(mut self, account: &MemoryAccount) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Bytes of a request's body, and as many of a response's, that are held for a guest: what it buffers,
    /// what it writes. A request that needs more is answered 413, a response 502, what a guest writes 500.
    /// Default [`DEFAULT_MAX_BODY`]. What streams is not held and not limited.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// What holds the bytes of all bodies together, of this pool and of others that have the same. A request whose body
    /// finds no room in it is answered 503, and may be sent again; one that never would, 413. Default: one of its own,
    /// of [`DEFAULT_MAX_BUFFER`](crate::DEFAULT_MAX_BUFFER) bytes.
    #[must_use]
    pub fn buffer_budget(mut self, buffers: BufferBudget) -> Self {
        self.buffers = buffers;
        self
    }

    /// What becomes of what guests print, those with WASI. Default [`Output::Prefixed`].
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// How many bytes an instance may print and have logged in a second; four times as many at once. All
    /// instances of the pool together may as much as 16. What is beyond is lost, counted, and logged now and
    /// then. Default 256 KiB; 0: no limit.
    #[must_use]
    pub fn max_output(mut self, bytes: u64) -> Self {
        self.max_output = bytes;
        self
    }

    /// Where a server says whom a request is from, for `get_source_addr`. Default: the extension
    /// [`SourceAddr`].
    ///
    /// ```
    /// use axum::extract::ConnectInfo;
    /// use millpond_http_wasm::HttpWasmPool;
    /// use std::net::SocketAddr;
    ///
    /// // With `into_make_service_with_connect_info::<SocketAddr>()`.
    /// let builder = HttpWasmPool::builder().source_addr(|extensions| {
    ///     let ConnectInfo(addr) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    ///     Some(*addr)
    /// });
    /// ```
    #[must_use]
    pub fn source_addr(
        mut self,
        find: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.source = Box::new(find);
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

    /// What randomness is drawn from, for tests that must repeat.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.base.seed = seed;
        self
    }

    /// A pool of a module's file, in the binary or the text format. Compiles on a thread where blocking is
    /// fine, and starts a guest, to see that it can.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime; it needs its timers (`enable_all`).
    pub async fn from_file(self, path: impl AsRef<Path>) -> Result<HttpWasmPool, BuildError> {
        let (name, bytes) = read_file(path.as_ref()).await?;
        self.build(name, bytes).await
    }

    /// A pool of a module's bytes. As [`from_file`](Self::from_file).
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime; it needs its timers (`enable_all`).
    pub async fn from_bytes(self, bytes: impl Into<Vec<u8>>) -> Result<HttpWasmPool, BuildError> {
        self.build("the module".to_owned(), bytes.into()).await
    }

    async fn build(self, name: String, bytes: Vec<u8>) -> Result<HttpWasmPool, BuildError> {
        let config = EngineConfig {
            guests: Guests::Modules,
            // One more, to try out another module while the pool is full.
            max_instances: self.limits.max_instances.saturating_add(1),
            max_memory: self.max_memory,
            cache: self.base.cache,
            core_dumps: false,
        };
        let (max_memory, account) = (self.max_memory, self.account);
        let console = Console::new(self.output, self.max_output);
        let new = NewModule { name, bytes, config: self.config };
        let version = new.prepare(self.limits.start_timeout, move |name| {
            let engine = config.engine();
            let engine = engine.map_err(|error| BuildError::engine(name, &error))?;
            let ticks = start_epoch_ticker(&engine);
            Ok(Arc::new(Shared { engine, ticks, max_memory, account, console }))
        });
        let versions = VersionRegistry::new(version.await?);
        let driver = GuestDriver::new(versions, self.base.expiration);
        let (max_body, buffers) = (self.max_body, self.buffers);
        let settings = Settings { max_body, buffers, source: self.source };
        Ok(HttpWasmPool::new(PoolHandle::new(driver, self.limits, self.base.seed), settings))
    }
}

/// How long to wait for room to try a module in.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

/// A module that is to become a pool's.
pub(crate) struct NewModule {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) config: Arc<[u8]>,
}

impl NewModule {
    /// Compiles it, and starts a guest, to see that it can.
    pub(crate) async fn prepare(
        self,
        start_timeout: std::time::Duration,
        shared: impl FnOnce(&str) -> Result<Arc<Shared>, BuildError> + Send + 'static,
    ) -> Result<Arc<ModuleVersion>, BuildError> {
        let Self { name, bytes, config } = self;
        let compiled = tokio::task::spawn_blocking({
            let name = name.clone();
            move || {
                let bytes = wat::parse_bytes(&bytes)
                    .map_err(|error| BuildError::not_a_guest(&name, "module", error))?;
                let info = inspect::read(&bytes).map_err(|error| {
                    BuildError::new(BuildErrorKind::Guest, format_args!("{name} {error}"))
                })?;
                ModuleVersion::new(&name, &bytes, info, config, shared(&name)?)
                    .map_err(|error| BuildError::compile(&name, &error))
            }
        });
        let fail = |kind, text: String| Err(BuildError::new(kind, text));
        let version = match compiled.await {
            Ok(compiled) => Arc::new(compiled?),
            Err(panic) => return fail(BuildErrorKind::Compile, format!("{name}: {panic}")),
        };
        let mut full = false;
        let trial = async {
            loop {
                full = false;
                match Guest::start(&version, None).await {
                    // The limits were raised since the pool was made, and requests have its place.
                    Err(error) if is_exhaustion(&error) => full = true,
                    tried => return tried,
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        match tokio::time::timeout(start_timeout, trial).await {
            Ok(Ok(guest)) => {
                drop(guest);
                Ok(version)
            }
            Ok(Err(error)) => fail(
                BuildErrorKind::Start,
                format!("{name} does not start: {}", one_line(error.root_cause())),
            ),
            Err(_) if full => fail(
                BuildErrorKind::NoRoom,
                format!(
                    "cannot try {name}: no room for one more instance for start_timeout, {start_timeout:?}"
                ),
            ),
            Err(_) => fail(
                BuildErrorKind::Start,
                format!(
                    "{name} does not start: it takes longer than start_timeout, {start_timeout:?}"
                ),
            ),
        }
    }
}

/// A module's name and bytes.
pub(crate) async fn read_file(path: &Path) -> Result<(String, Vec<u8>), BuildError> {
    let name = path.display().to_string();
    let path = path.to_owned();
    let read =
        tokio::task::spawn_blocking(move || millpond_engine::read_file(&path, DEFAULT_MAX_SIZE));
    let read = read.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    let bytes = read.map_err(|error| BuildError::read(&name, error))?;
    Ok((name, bytes))
}

impl fmt::Debug for HttpWasmBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWasmBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

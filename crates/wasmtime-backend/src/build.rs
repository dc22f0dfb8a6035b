//! From a component to a pool.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millpond_pool_core::expiration::{
    self, BoxExpiration, InstanceExpiration, body_stall_timeout, idle_timeout, post_return_timeout,
};
use millpond_pool_core::{Limits, MaxRequests, PoolHandle};
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::driver::{MakeExpiration, WasmDriver};
use crate::engine::{self, CacheChoice, EngineNeeds};
use crate::host::Host;
use crate::interfaces::{HttpVersion, Interfaces, InterfacesError};
use crate::pool::WasmPool;

/// Makes a [`WasmPool`]. See there for an example.
pub struct Builder<H: Host> {
    host: H,
    limits: Vec<ChangeLimits>,
    timeouts: Timeouts,
    expiration: Option<WrapExpiration>,
    cache: CacheChoice,
    seed: u64,
}

type ChangeLimits = Box<dyn FnOnce(&mut Limits) + Send>;
type WrapExpiration = Box<dyn Fn(BoxExpiration) -> BoxExpiration + Send + Sync>;

#[derive(Clone, Copy)]
struct Timeouts {
    idle: Duration,
    post_return: Duration,
    body_stall: Duration,
}

impl<H: Host> Builder<H> {
    pub(crate) fn new(host: H) -> Self {
        let half_a_minute = Duration::from_secs(30);
        let timeouts = Timeouts {
            idle: Duration::from_secs(10),
            post_return: half_a_minute,
            body_stall: half_a_minute,
        };
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let cache = CacheChoice::Default;
        Self { host, limits: Vec::new(), timeouts, expiration: None, cache, seed }
    }

    /// Changes the limits. What it is given are the defaults, which depend on the component: with
    /// wasi:http 0.2, each request gets a fresh instance; with 0.3, an instance serves 96 to 128
    /// requests, 16 at a time. A 0.2 guest never serves several at a time, whatever is asked for.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits) + Send + 'static) -> Self {
        self.limits.push(Box::new(change));
        self
    }

    /// How long an instance may have nothing to do. Default 10 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.idle = timeout;
        self
    }

    /// How long a guest may work on when all its response bodies have ended. Default 30 s.
    #[must_use]
    pub fn post_return_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.post_return = timeout;
        self
    }

    /// How long a response body may go without moving. Default 30 s.
    #[must_use]
    pub fn body_stall_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.body_stall = timeout;
        self
    }

    /// The policy of each instance, made from the default one: the three timeouts above. Use
    /// [`InstanceExpiration::or`] to add to it, or leave it out and look after them yourself.
    #[must_use]
    pub fn expiration<E: InstanceExpiration>(
        mut self,
        wrap: impl Fn(BoxExpiration) -> E + Send + Sync + 'static,
    ) -> Self {
        self.expiration = Some(Box::new(move |default| expiration::boxed(wrap(default))));
        self
    }

    /// Compiles anew each time. By default, compiled code is kept in the user's cache directory.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        self.cache = CacheChoice::Off;
        self
    }

    /// Keeps compiled code as this wasmtime cache configuration file says.
    #[must_use]
    pub fn cache_config(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = CacheChoice::File(file.into());
        self
    }

    /// What randomness is drawn from, for tests that must repeat.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
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
    pub fn from_file(self, path: impl AsRef<Path>) -> Result<WasmPool<H>, BuildError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let read = std::fs::read(path);
        let bytes = read.map_err(|error| BuildError::new(&name, Problem::Read(error)))?;
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
        let fail = |problem| BuildError::new(name, problem);
        let bytes = wat::parse_bytes(bytes).map_err(|error| fail(Problem::Text(error)))?;
        let interfaces =
            Interfaces::read(&bytes).map_err(|error| fail(Problem::Interfaces(error)))?;
        let version =
            interfaces.require_version().map_err(|error| fail(Problem::Interfaces(error)))?;
        let concurrency = version == HttpVersion::P3 || interfaces.uses_async();
        let missing = interfaces.missing(|import| self.provides(import, concurrency));
        if !missing.is_empty() {
            return Err(fail(Problem::Missing(missing)));
        }
        let (this, limits) = self.into_limits(version);
        let needs = EngineNeeds {
            concurrency,
            max_instances: limits.max_instances,
            max_memory: this.host.max_memory(),
            cache: this.cache.clone(),
        };
        let engine = engine::engine(&needs).map_err(|error| fail(Problem::Engine(error)))?;
        let component =
            Component::new(&engine, &bytes).map_err(|error| fail(Problem::Compile(error)))?;
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
            return Err(BuildError::new("the component", Problem::Interfaces(error)));
        };
        engine::tick(engine);
        let (this, limits) = self.into_limits(version);
        let concurrency = version == HttpVersion::P3;
        this.link("the component", component, version, concurrency, limits)
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
        let fail = |error| BuildError::new(name, Problem::Link(error));
        let engine = component.engine();
        let pre = || -> wasmtime::Result<ProxyPre<H::Data>> {
            let mut linker = Linker::<H::Data>::new(engine);
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
            p2::add_only_http_to_linker_async(&mut linker)?;
            if concurrency {
                wasmtime_wasi::p3::add_to_linker(&mut linker)?;
                p3::add_to_linker(&mut linker)?;
            }
            self.host.link(&mut linker)?;
            let pre = linker.instantiate_pre(component)?;
            Ok(match version {
                HttpVersion::P2 => ProxyPre::P2(p2::bindings::ProxyPre::new(pre)?),
                HttpVersion::P3 => ProxyPre::P3(p3::bindings::ServicePre::new(pre)?),
            })
        };
        let pre = pre().map_err(fail)?;
        let expiration = make_expiration(self.timeouts, self.expiration);
        let driver = WasmDriver::new(self.host, engine.clone(), pre, expiration);
        Ok(WasmPool::new(PoolHandle::new(driver, limits, self.seed), version))
    }
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

fn make_expiration(timeouts: Timeouts, wrap: Option<WrapExpiration>) -> MakeExpiration {
    Box::new(move |_| {
        let default = idle_timeout(timeouts.idle)
            .or(post_return_timeout(timeouts.post_return))
            .or(body_stall_timeout(timeouts.body_stall));
        let default = expiration::boxed(default);
        match &wrap {
            Some(wrap) => wrap(default),
            None => default,
        }
    })
}

impl<H: Host> fmt::Debug for Builder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// Why there is no pool. Its text is one line: what, where, and what was expected.
#[derive(Clone)]
pub struct BuildError {
    name: String,
    problem: Arc<Problem>,
}

enum Problem {
    Read(std::io::Error),
    Text(wat::Error),
    Interfaces(InterfacesError),
    Missing(Vec<String>),
    Engine(wasmtime::Error),
    Compile(wasmtime::Error),
    Link(wasmtime::Error),
}

impl BuildError {
    fn new(name: &str, problem: Problem) -> Self {
        Self { name: name.to_owned(), problem: Arc::new(problem) }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, problem } = self;
        match &**problem {
            Problem::Read(error) => write!(f, "cannot read {name}: {error}"),
            Problem::Text(error) => write!(f, "{name} is no component: {}", one_line(error)),
            Problem::Interfaces(error) => write!(f, "{name}: {error}"),
            Problem::Missing(missing) => {
                write!(f, "{name} imports what nobody provides: {}", missing.join(", "))
            }
            Problem::Engine(error) => write!(f, "no engine for {name}: {}", chain(error)),
            Problem::Compile(error) => write!(f, "cannot compile {name}: {}", chain(error)),
            Problem::Link(error) => write!(f, "cannot link {name}: {}", chain(error)),
        }
    }
}

fn chain(error: &wasmtime::Error) -> String {
    one_line(format!("{error:#}"))
}

fn one_line(text: impl ToString) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildError({self})")
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.problem {
            Problem::Read(error) => Some(error),
            Problem::Interfaces(error) => Some(error),
            _ => None,
        }
    }
}

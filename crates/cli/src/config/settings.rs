//! The resolved settings of a start: flags over the configuration file over the defaults.
//!
//! Only the server's own defaults are known here. A setting of the pool stays `None` unless the user gave it, so that
//! the pool's defaults are written down in one place.

mod unused;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use millpond::ingress::Network;

use crate::config::args::Flags;
use crate::config::file;
use crate::config::groups::{Codegen, Group as _, Wasi, Wasm};
use crate::config::middleware::Middleware;
use crate::config::origin::Origin;
use crate::config::values::{Dir, EnvVar, LogFormat, Outbound, Rate, Time};
use crate::error::StartError;
use crate::listen::Pacing;

/// Warnings of all, and what Millpond itself has to tell.
pub(crate) const DEFAULT_FILTER: &str = "warn,millpond=info";

const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const MAX_CONNECTIONS: usize = 10_000;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything a start needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The component's file; the built-in demo if `None`, unless there is an upstream.
    pub(crate) component: Option<PathBuf>,
    /// The server in place of a component.
    pub(crate) upstream: Option<Origin>,

    // The server.
    pub(crate) addr: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    /// A connection to this address starts the shutdown.
    pub(crate) shutdown_addr: Option<SocketAddr>,
    pub(crate) max_concurrent_connections: usize,
    /// The proxies whose word about the client of a request is trusted.
    pub(crate) trust_proxy: Vec<Network>,
    /// The headers removed from each response.
    pub(crate) strip_response_header: Vec<HeaderName>,
    /// How fast bodies must go.
    pub(crate) pacing: Pacing,
    /// Worker threads; one for each core if `None`.
    pub(crate) threads: Option<usize>,
    /// From the signal to the end of accepting.
    pub(crate) drain_delay: Duration,
    /// From the end of accepting to the end of waiting.
    pub(crate) drain_timeout: Duration,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    /// Whether guest output is prefixed with its instance and request.
    pub(crate) logging_prefix: bool,
    /// Bytes that an instance may print in a second.
    pub(crate) max_guest_output: Option<u64>,
    /// Where profiles go; there are none if `None`.
    pub(crate) profile: Option<PathBuf>,
    /// Where core dumps go, likewise.
    pub(crate) coredump: Option<PathBuf>,
    /// Of each of both.
    pub(crate) max_record_files: Option<usize>,
    pub(crate) max_record_bytes: Option<u64>,

    /// What requests pass before they reach what is served: the first is outermost.
    pub(crate) middleware: Vec<Middleware>,
    /// Of each of them; `None` leaves it to the pool's default.
    pub(crate) max_middleware_instances: Option<usize>,
    /// Bytes that are held for all of them together, likewise.
    pub(crate) max_middleware_buffer: Option<u64>,

    // The pool: `None` leaves it to the backend's default.
    /// Zero: nothing waits.
    pub(crate) queue: Option<usize>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) idle_instance_timeout: Option<Duration>,
    pub(crate) max_instances: Option<usize>,
    /// Bytes of linear memory for each instance.
    pub(crate) max_memory: Option<u64>,
    /// Bytes of all instances of all pools.
    pub(crate) max_total_memory: Option<u64>,
    /// Bytes.
    pub(crate) max_component_size: Option<u64>,
    pub(crate) max_concurrent_requests: Option<usize>,
    pub(crate) max_instance_reuse_count: Option<usize>,
    pub(crate) max_instance_concurrent_reuse_count: Option<usize>,
    pub(crate) min_idle: Option<usize>,
    pub(crate) max_instance_age: Option<Duration>,
    /// Bytes.
    pub(crate) instance_memory_watermark: Option<u64>,
    /// Bytes.
    pub(crate) process_memory_watermark: Option<u64>,

    // The guest.
    /// In order; a later one of the same name wins.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dirs: Vec<Dir>,
    /// Set on every request before a guest sees it.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Where guests may send requests: anywhere if `None`, nowhere if empty.
    pub(crate) allow_outbound: Option<Vec<Outbound>>,
    /// Whether they may not send any to addresses that are not public.
    pub(crate) deny_private: bool,
    /// Requests that guests send, at once.
    pub(crate) max_outbound: Option<usize>,
    /// Files that guests have open, at once.
    pub(crate) max_files: Option<usize>,
    pub(crate) wasi: Wasi,
    /// `-W component-model-async`.
    pub(crate) component_model_async: Option<bool>,
    pub(crate) codegen: Codegen,
}

impl Settings {
    /// Reads the configuration file, if the flags name one, and lays the flags over it.
    pub(crate) fn resolve(flags: Flags) -> Result<Self, StartError> {
        Self::resolve_with(flags, |name| std::env::var_os(name).map(|value| value.into_string()))
    }

    fn resolve_with(flags: Flags, host_env: impl Fn(&str) -> HostVar) -> Result<Self, StartError> {
        let flags = flags.unify().map_err(StartError::usage)?;
        let flags = match &flags.config {
            Some(path) => {
                let file = file::read(path)?;
                flags.over(file)
            }
            None => flags,
        };
        unused::refuse(&flags)?;
        let wasm = Wasm::sum(flags.wasm);
        let settings = Self {
            component: flags.component,
            upstream: flags.upstream,
            addr: flags.addr.map_or(ADDR, |addr| addr.0),
            admin: flags.admin.map(|addr| addr.0),
            shutdown_addr: flags.shutdown_addr.map(|addr| addr.0),
            max_concurrent_connections: flags
                .max_concurrent_connections
                .map_or(MAX_CONNECTIONS, |n| n.0),
            trust_proxy: flags.trust_proxy.into_iter().map(|proxy| proxy.0).collect(),
            strip_response_header: flags
                .strip_response_header
                .into_iter()
                .map(|name| name.0)
                .collect(),
            pacing: pacing(flags.min_body_rate, flags.request_body_timeout),
            threads: flags.threads.map(|n| n.0),
            drain_delay: flags.drain_delay.map_or(Duration::ZERO, |time| time.0),
            drain_timeout: flags.drain_timeout.map_or(DRAIN_TIMEOUT, |time| time.0),
            log: flags.log.unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            log_format: flags.log_format.unwrap_or_default(),
            logging_prefix: !flags.no_logging_prefix,
            max_guest_output: flags.max_guest_output.map(|rate| rate.0),
            profile: flags.profile.map(|dir| dir.0),
            coredump: flags.coredump,
            max_record_files: flags.max_record_files.map(|n| n.0),
            max_record_bytes: flags.max_record_bytes.map(|size| size.0),
            middleware: flags.middleware.0,
            max_middleware_instances: flags.max_middleware_instances.map(|n| n.0),
            max_middleware_buffer: flags.max_middleware_buffer.map(|size| size.0),
            queue: flags.queue.map(|n| n.0),
            queue_timeout: flags.queue_timeout.map(|time| time.0),
            request_timeout: flags.request_timeout.map(|time| time.0),
            start_timeout: flags.start_timeout.map(|time| time.0),
            idle_instance_timeout: flags.idle_instance_timeout.map(|time| time.0),
            max_instances: flags.max_instances.map(|n| n.0),
            max_memory: flags.max_memory.map(|size| size.0),
            max_total_memory: flags.max_total_memory.map(|size| size.0),
            max_component_size: flags.max_component_size.map(|size| size.0),
            max_concurrent_requests: flags.max_concurrent_requests.map(|n| n.0),
            max_instance_reuse_count: flags.max_instance_reuse_count.map(|n| n.0),
            max_instance_concurrent_reuse_count: flags
                .max_instance_concurrent_reuse_count
                .map(|n| n.0),
            min_idle: flags.min_idle.map(|n| n.0),
            max_instance_age: flags.max_instance_age.map(|time| time.0),
            instance_memory_watermark: flags.instance_memory_watermark.map(|size| size.0),
            process_memory_watermark: flags.process_memory_watermark.map(|size| size.0),
            env: resolve_env(flags.env, host_env)?,
            dirs: flags.dir,
            headers: flags.header.into_iter().flat_map(|arg| arg.0).collect(),
            allow_outbound: flags.allow_outbound,
            deny_private: flags.deny_private,
            max_outbound: flags.max_outbound.map(|n| n.0),
            max_files: flags.max_files.map(|n| n.0),
            wasi: Wasi::sum(flags.wasi),
            component_model_async: wasm.component_model_async,
            codegen: Codegen::sum(flags.codegen),
        };
        settings.check()?;
        Ok(settings)
    }

    /// What each value alone cannot tell.
    fn check(&self) -> Result<(), StartError> {
        // By its default, --max-memory is more than most instances ever have.
        if let (Some(all), Some(one)) = (self.max_total_memory, self.max_memory)
            && all < one
        {
            return Err(StartError::usage(format!(
                "--max-total-memory: {all} bytes for all instances, expected at least the {one} of one, --max-memory"
            )));
        }
        for dir in &self.dirs {
            let host = dir.host.display();
            match std::fs::metadata(&dir.host) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(StartError::failed(format!("--dir {host}: not a directory"))),
                Err(error) => return Err(StartError::failed(format!("--dir {host}: {error}"))),
            }
        }
        Ok(())
    }
}

fn pacing(rate: Option<Rate>, timeout: Option<Time>) -> Pacing {
    let default = Pacing::default();
    Pacing {
        min_body_rate: rate.map_or(default.min_body_rate, |rate| rate.0),
        request_body_timeout: match timeout {
            Some(time) => Some(time.0).filter(|time| !time.is_zero()),
            None => default.request_body_timeout,
        },
    }
}

/// What the host's environment says of one name: nothing, a text, or bytes that are no text.
type HostVar = Option<Result<String, std::ffi::OsString>>;

fn resolve_env(
    vars: Vec<EnvVar>,
    host_env: impl Fn(&str) -> HostVar,
) -> Result<Vec<(String, String)>, StartError> {
    let mut resolved = Vec::with_capacity(vars.len());
    for EnvVar { name, value } in vars {
        let value = match value {
            Some(value) => value,
            None => match host_env(&name) {
                Some(Ok(value)) => value,
                Some(Err(_)) => {
                    return Err(StartError::failed(format!(
                        "--env {name}: the host's value is not UTF-8"
                    )));
                }
                // As in `wasmtime serve`: unset there, unset here.
                None => continue,
            },
        };
        resolved.push((name, value));
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests;

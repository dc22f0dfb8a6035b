//! The component that the settings ask for, and its pool.

use std::net::SocketAddr;
use std::path::Path;

use millpond::expiration::{InstanceExpiration as _, memory_watermark};
use millpond::{
    Destination, GuestIo, MaxRequests, MemoryAccount, RecordLimits, WasiHost, WasmPool,
};

use crate::app::pool::to_usize;
use crate::config::settings::Settings;
use crate::config::values::Outbound;
use crate::error::StartError;
use crate::process::status::with_progress;

/// What is served when no component is given.
const DEMO: &[u8] = include_bytes!(env!("MILLPOND_DEMO"));

/// Compiles the component, or finds it in the cache, and makes its pool. Its guests cannot reach `own` addresses.
pub(crate) async fn pool(
    settings: &Settings,
    account: &MemoryAccount,
    io: &GuestIo,
    own: Vec<SocketAddr>,
) -> Result<WasmPool, StartError> {
    let host = own.into_iter().fold(host(settings)?, WasiHost::deny_address);
    let builder = builder(settings, host.guest_io(io.clone()).memory_account(account))?;
    let component = settings.component.clone();
    let name = component.as_deref().map_or("the built-in demo".into(), Path::to_string_lossy);
    let compiling = tokio::task::spawn_blocking({
        let component = component.clone();
        move || match component {
            Some(path) => builder.from_file(path),
            None => builder.from_bytes(DEMO),
        }
    });
    let built = with_progress(&name, compiling).await;
    let built = built.map_err(|panic| StartError::failed(format!("compiling {name}: {panic}")))?;
    built.map_err(|error| StartError::failed(error.to_string()))
}

fn builder(settings: &Settings, host: WasiHost) -> Result<millpond::Builder<WasiHost>, StartError> {
    let s = settings.clone();
    let mut builder = WasmPool::builder(host).limits(move |limits| {
        s.set_limits(limits);
        limits.max_instances = s.max_instances.unwrap_or(limits.max_instances);
        limits.max_running = s.max_concurrent_requests;
        if let Some(count) = s.max_instance_reuse_count {
            limits.max_requests = MaxRequests::exactly(count as u64);
        }
        if let Some(count) = s.max_instance_concurrent_reuse_count {
            limits.concurrency = count;
        }
        limits.min_idle = s.min_idle.unwrap_or(limits.min_idle);
    });
    if let Some(bytes) = settings.instance_memory_watermark {
        builder = builder.expiration(move |policy| policy.or(memory_watermark(to_usize(bytes))));
    }
    if let Some(watch) = settings.memory_watch()? {
        builder = builder.expiration(move |policy| policy.or(watch.end_idle()));
    }
    if let Some(bytes) = settings.max_component_size {
        builder = builder.max_component_size(to_usize(bytes));
    }
    if let Some(dir) = &settings.profile {
        builder = builder.profile_dir(dir);
    }
    if let Some(dir) = &settings.coredump {
        builder = builder.coredump_dir(dir);
    }
    let mut records = RecordLimits::default();
    records.max_files = settings.max_record_files.unwrap_or(records.max_files);
    records.max_bytes = settings.max_record_bytes.unwrap_or(records.max_bytes);
    builder = builder.record_limits(records);
    if settings.codegen.cache == Some(false) {
        builder = builder.without_cache();
    } else if let Some(file) = &settings.codegen.cache_config {
        builder = builder.cache_config(file);
    }
    Ok(builder)
}

fn host(settings: &Settings) -> Result<WasiHost, StartError> {
    let mut host = WasiHost::new().output(settings.output());
    if let Some(bytes) = settings.max_guest_output {
        host = host.max_output(bytes);
    }
    for (name, value) in &settings.env {
        host = host.env(name, value);
    }
    for dir in &settings.dirs {
        host = match dir.read_only {
            true => host.dir_read_only(&dir.host, &dir.guest),
            false => host.dir(&dir.host, &dir.guest),
        };
    }
    if let Some(bytes) = settings.max_memory {
        host = host.max_memory(to_usize(bytes));
    }
    if let Some(allowed) = &settings.allow_outbound {
        host = host.deny_outbound();
        for outbound in allowed {
            host = host.allow_outbound(destination(outbound)?);
        }
    }
    if settings.deny_private {
        host = host.deny_private();
    }
    let wasi = &settings.wasi;
    if wasi.config == Some(true) || !wasi.config_var.is_empty() {
        host = host.config(wasi.config_var.iter().cloned());
    }
    if wasi.keyvalue == Some(true) || !wasi.keyvalue_in_memory_data.is_empty() {
        host = host.keyvalue(wasi.keyvalue_in_memory_data.iter().cloned());
    }
    Ok(host)
}

fn destination(outbound: &Outbound) -> Result<Destination, StartError> {
    let host = &outbound.host;
    let host =
        if host.contains(':') && !host.contains('/') { format!("[{host}]") } else { host.clone() };
    let text = match outbound.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    text.parse().map_err(|error| StartError::usage(format!("--allow-outbound: {error}")))
}

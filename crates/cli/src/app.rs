//! The pool that the settings ask for.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use millpond::expiration::{InstanceExpiration as _, memory_watermark};
use millpond::{Destination, MaxRequests, MemorySource, MemoryWatch, Output, WasiHost, WasmPool};

use crate::error::StartError;
use crate::settings::Settings;
use crate::values::Outbound;

/// What is served when no component is given.
const DEMO: &[u8] = include_bytes!(env!("MILLPOND_DEMO"));

/// After this long, a start says what takes so long.
const PATIENCE: Duration = Duration::from_millis(300);

/// Compiles the component, or finds it in the cache, and makes its pool.
pub(crate) async fn pool(settings: &Settings) -> Result<WasmPool, StartError> {
    let builder = builder(settings)?;
    let component = settings.component.clone();
    let name = component.as_deref().map_or("the built-in demo".into(), Path::to_string_lossy);
    let mut built = tokio::task::spawn_blocking({
        let component = component.clone();
        move || match component {
            Some(path) => builder.from_file(path),
            None => builder.from_bytes(DEMO),
        }
    });
    let built = match tokio::time::timeout(PATIENCE, &mut built).await {
        Ok(built) => built,
        Err(_) => {
            say(&format!("Compiling {name} ..."));
            built.await
        }
    };
    let built = built.map_err(|panic| StartError::failed(format!("compiling {name}: {panic}")))?;
    let pool = built.map_err(|error| StartError::failed(error.to_string()))?;
    if component.is_none() {
        say("No component given: this is the built-in demo. Next: millpond serve app.wasm");
    }
    Ok(pool)
}

fn builder(settings: &Settings) -> Result<millpond::Builder<WasiHost>, StartError> {
    let s = settings.clone();
    let mut builder = WasmPool::builder(host(settings)?).limits(move |limits| {
        let set = |to: &mut Duration, from: Option<Duration>| *to = from.unwrap_or(*to);
        set(&mut limits.queue_timeout, s.queue_timeout);
        set(&mut limits.request_timeout, s.request_timeout);
        set(&mut limits.start_timeout, s.start_timeout);
        limits.max_queue = s.queue.unwrap_or(limits.max_queue);
        limits.max_instances = s.max_instances.unwrap_or(limits.max_instances);
        limits.max_running = s.max_concurrent_requests;
        if let Some(count) = s.max_instance_reuse_count {
            limits.max_requests = MaxRequests::exactly(count as u64);
        }
        if let Some(count) = s.max_instance_concurrent_reuse_count {
            limits.concurrency = count;
        }
        set(&mut limits.idle_timeout, s.idle_instance_timeout);
        set(&mut limits.max_age, s.max_instance_age);
        limits.min_idle = s.min_idle.unwrap_or(limits.min_idle);
    });
    if let Some(bytes) = settings.instance_memory_watermark {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        builder = builder.expiration(move |policy| policy.or(memory_watermark(bytes)));
    }
    if let Some(bytes) = settings.process_memory_watermark {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let watch = MemoryWatch::new(MemorySource::Process, bytes);
        let watch = watch
            .map_err(|error| StartError::failed(format!("--process-memory-watermark: {error}")))?;
        // The policies keep it: it watches for as long as there is a pool.
        builder = builder.expiration(move |policy| policy.or(watch.end_idle()));
    }
    if let Some(dir) = &settings.profile {
        builder = builder.profile_dir(dir);
    }
    if let Some(dir) = &settings.coredump {
        builder = builder.coredump_dir(dir);
    }
    if settings.codegen.cache == Some(false) {
        builder = builder.without_cache();
    } else if let Some(file) = &settings.codegen.cache_config {
        builder = builder.cache_config(file);
    }
    Ok(builder)
}

fn host(settings: &Settings) -> Result<WasiHost, StartError> {
    let output = if settings.logging_prefix { Output::Prefixed } else { Output::Plain };
    let mut host = WasiHost::new().output(output);
    for (name, value) in &settings.env {
        host = host.env(name, value);
    }
    for dir in &settings.dirs {
        host = host.dir(&dir.host, &dir.guest);
    }
    if let Some(bytes) = settings.max_memory {
        host = host.max_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    if let Some(allowed) = &settings.allow_outbound {
        host = host.deny_outbound();
        for outbound in allowed {
            host = host.allow_outbound(destination(outbound)?);
        }
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
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let text = match outbound.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    text.parse().map_err(|error| StartError::usage(format!("--allow-outbound: {error}")))
}

/// A line for whoever started the process: it comes whatever the log filter says.
pub(crate) fn say(line: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

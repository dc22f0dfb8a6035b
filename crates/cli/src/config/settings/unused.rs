//! Flags of what is not there. An option that silently does nothing is worse than one that is missing.

use crate::config::args::Flags;
use crate::config::groups::{Codegen, Wasi, Wasm};
use crate::error::StartError;

/// Refuses what would be ignored.
pub(super) fn refuse(flags: &Flags) -> Result<(), StartError> {
    // Without `..`: a new flag does not compile before it is said here what it applies to.
    let Flags {
        // To the server, whatever it serves.
        addr: _,
        admin: _,
        config: _,
        drain_delay: _,
        drain_timeout: _,
        header: _,
        log: _,
        log_format: _,
        max_concurrent_connections: _,
        min_body_rate: _,
        request_body_timeout: _,
        shutdown_addr: _,
        strip_response_header: _,
        threads: _,
        trust_proxy: _,
        // To whatever answers, component or upstream, and to what stands before it.
        component,
        max_concurrent_requests: _,
        middleware,
        queue: _,
        queue_timeout: _,
        request_timeout: _,
        upstream,
        wasm,
        // To middleware.
        max_middleware_buffer,
        max_middleware_instances,
        // To components.
        allow_outbound,
        coredump,
        deny_private,
        dir,
        env,
        max_component_size,
        max_files,
        max_instance_concurrent_reuse_count,
        max_instance_reuse_count,
        max_instances,
        max_outbound,
        max_record_bytes,
        max_record_files,
        min_idle,
        profile,
        wasi,
        // To components and middleware.
        codegen,
        idle_instance_timeout,
        instance_memory_watermark,
        max_guest_output,
        max_instance_age,
        max_memory,
        max_total_memory,
        no_logging_prefix,
        process_memory_watermark,
        start_timeout,
    } = flags;

    let has_middleware = !middleware.0.is_empty();
    if !has_middleware && max_middleware_instances.is_some() {
        return Err(StartError::usage(
            "--max-middleware-instances: there is no --middleware for which to count",
        ));
    }
    if !has_middleware && max_middleware_buffer.is_some() {
        return Err(StartError::usage(
            "--max-middleware-buffer: there is no --middleware for which to hold anything",
        ));
    }
    let records = max_record_files.is_some() || max_record_bytes.is_some();
    if records && profile.is_none() && coredump.is_none() {
        return Err(StartError::usage(
            "--max-record-files and --max-record-bytes bound what --profile and --coredump write, and there is neither",
        ));
    }
    if max_files.is_some() && dir.is_empty() && upstream.is_none() {
        return Err(StartError::usage("--max-files: there is no --dir in which to open any"));
    }

    let Some(upstream) = upstream else { return Ok(()) };
    if let Some(component) = component {
        return Err(StartError::usage(format!(
            "--upstream http://{}: {} is to be served already, expected one of the two",
            upstream.as_str(),
            component.display()
        )));
    }
    let of_components = [
        ("--env", !env.is_empty()),
        ("--dir", !dir.is_empty()),
        ("--allow-outbound", allow_outbound.is_some()),
        ("--deny-private", *deny_private),
        ("--max-outbound", max_outbound.is_some()),
        ("--max-files", max_files.is_some()),
        ("-S", wasi.iter().any(|group| *group != Wasi::default())),
        ("-W component-model-async", wasm.iter().any(is_async)),
        ("--profile", profile.is_some()),
        ("--coredump", coredump.is_some()),
        ("--max-component-size", max_component_size.is_some()),
        ("--max-instances", max_instances.is_some()),
        ("--max-instance-reuse-count", max_instance_reuse_count.is_some()),
        ("--max-instance-concurrent-reuse-count", max_instance_concurrent_reuse_count.is_some()),
        ("--min-idle", min_idle.is_some()),
    ];
    if let Some(name) = given(&of_components) {
        return Err(StartError::usage(format!(
            "{name} is for components, and with --upstream there is none"
        )));
    }
    let of_guests = [
        ("--start-timeout", start_timeout.is_some()),
        ("--max-memory", max_memory.is_some()),
        ("--max-total-memory", max_total_memory.is_some()),
        ("--idle-instance-timeout", idle_instance_timeout.is_some()),
        ("--max-instance-age", max_instance_age.is_some()),
        ("--instance-memory-watermark", instance_memory_watermark.is_some()),
        ("--process-memory-watermark", process_memory_watermark.is_some()),
        ("--no-logging-prefix", *no_logging_prefix),
        ("--max-guest-output", max_guest_output.is_some()),
        ("-C", codegen.iter().any(|group| *group != Codegen::default())),
    ];
    match given(&of_guests) {
        Some(name) if !has_middleware => Err(StartError::usage(format!(
            "{name} is for guests, and with --upstream but without --middleware there are none"
        ))),
        _ => Ok(()),
    }
}

fn given<'a>(flags: &[(&'a str, bool)]) -> Option<&'a str> {
    flags.iter().find(|(_, given)| *given).map(|(name, _)| *name)
}

fn is_async(group: &Wasm) -> bool {
    group.component_model_async.is_some()
}

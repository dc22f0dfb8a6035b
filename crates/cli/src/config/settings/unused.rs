//! Flags of what is not there. An option that silently does nothing is worse than one that is missing.

use crate::config::args::Flags;
use crate::config::groups::{Codegen, Wasi};
use crate::error::StartError;

/// Refuses what would be ignored.
pub(super) fn refuse(flags: &Flags) -> Result<(), StartError> {
    let has_middleware = !flags.middleware.0.is_empty();
    if !has_middleware && flags.max_middleware_instances.is_some() {
        return Err(StartError::usage(
            "--max-middleware-instances: there is no --middleware for which to count",
        ));
    }
    let records = flags.max_record_files.is_some() || flags.max_record_bytes.is_some();
    if records && flags.profile.is_none() && flags.coredump.is_none() {
        return Err(StartError::usage(
            "--max-record-files and --max-record-bytes bound what --profile and --coredump write, and there is neither",
        ));
    }
    if flags.max_files.is_some() && flags.dir.is_empty() && flags.upstream.is_none() {
        return Err(StartError::usage("--max-files: there is no --dir in which to open any"));
    }
    if !has_middleware && flags.max_middleware_buffer.is_some() {
        return Err(StartError::usage(
            "--max-middleware-buffer: there is no --middleware for which to hold anything",
        ));
    }
    let Some(upstream) = &flags.upstream else { return Ok(()) };
    if let Some(component) = &flags.component {
        return Err(StartError::usage(format!(
            "--upstream http://{}: {} is to be served already, expected one of the two",
            upstream.as_str(),
            component.display()
        )));
    }
    if let Some(name) = given(&of_components(flags)) {
        return Err(StartError::usage(format!(
            "{name} is for components, and with --upstream there is none"
        )));
    }
    match given(&of_guests(flags)) {
        Some(name) if !has_middleware => Err(StartError::usage(format!(
            "{name} is for guests, and with --upstream but without --middleware there are none"
        ))),
        _ => Ok(()),
    }
}

fn given<'a>(flags: &[(&'a str, bool)]) -> Option<&'a str> {
    flags.iter().find(|(_, given)| *given).map(|(name, _)| *name)
}

fn of_components(flags: &Flags) -> [(&'static str, bool); 15] {
    [
        ("--env", !flags.env.is_empty()),
        ("--dir", !flags.dir.is_empty()),
        ("--allow-outbound", flags.allow_outbound.is_some()),
        ("--deny-private", flags.deny_private),
        ("--max-outbound", flags.max_outbound.is_some()),
        ("--max-files", flags.max_files.is_some()),
        ("-S", flags.wasi.iter().any(|group| *group != Wasi::default())),
        (
            "-W component-model-async",
            flags.wasm.iter().any(|group| group.component_model_async.is_some()),
        ),
        ("--profile", flags.profile.is_some()),
        ("--coredump", flags.coredump.is_some()),
        ("--max-component-size", flags.max_component_size.is_some()),
        ("--max-instances", flags.max_instances.is_some()),
        ("--max-instance-reuse-count", flags.max_instance_reuse_count.is_some()),
        (
            "--max-instance-concurrent-reuse-count",
            flags.max_instance_concurrent_reuse_count.is_some(),
        ),
        ("--min-idle", flags.min_idle.is_some()),
    ]
}

/// Of components and of middleware.
fn of_guests(flags: &Flags) -> [(&'static str, bool); 10] {
    [
        ("--start-timeout", flags.start_timeout.is_some()),
        ("--max-memory", flags.max_memory.is_some()),
        ("--max-total-memory", flags.max_total_memory.is_some()),
        ("--idle-instance-timeout", flags.idle_instance_timeout.is_some()),
        ("--max-instance-age", flags.max_instance_age.is_some()),
        ("--instance-memory-watermark", flags.instance_memory_watermark.is_some()),
        ("--process-memory-watermark", flags.process_memory_watermark.is_some()),
        ("--no-logging-prefix", flags.no_logging_prefix),
        ("--max-guest-output", flags.max_guest_output.is_some()),
        ("-C", flags.codegen.iter().any(|group| *group != Codegen::default())),
    ]
}

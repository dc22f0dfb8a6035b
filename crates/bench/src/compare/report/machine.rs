//! Where a run was made.

use std::fs;
use std::process::Command;

use crate::Fallible;
use crate::compare::peer::Programs;
use crate::compare::workload::Guest;
use crate::compare::wrk;

/// Lines for the report.
pub(super) fn describe(programs: &Programs) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").and_then(|total| {
        let kibibytes: f64 = total.split(' ').next()?.parse().ok()?;
        Some(format!("{:.1} GiB", kibibytes / (1 << 20) as f64))
    });
    let unknown = || "unknown".to_owned();
    let mut lines = vec![
        ("processor", field("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
        ("cores", cores.to_string()),
        ("memory", memory.unwrap_or_else(unknown)),
        ("kernel", read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown)),
        ("millpond", version(&programs.millpond)),
        ("wasmtime in millpond and proxy-handler", locked("wasmtime")),
        ("axum", locked("axum")),
        ("wrk", wrk::version()),
    ];
    if let Some(wasmtime) = &programs.wasmtime {
        lines.push(("wasmtime", version(wasmtime)));
    }
    for guest in Guest::ALL {
        let size = fs::metadata(guest.path()).map_or(0, |file| file.len());
        lines.push((guest.name(), format!("{:.1} MB", size as f64 / 1e6)));
    }
    lines
}

/// The load average of the last minute.
pub(crate) fn load() -> Fallible<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn read(file: &str) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

/// The value of the first line with this name before its colon.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.trim() == name)?;
    Some(value.trim().to_owned())
}

fn version(program: &std::path::Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|error| error.to_string())
}

/// The version of a crate that this program is built with.
fn locked(name: &str) -> String {
    let lock = include_str!("../../../../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown").to_owned()
}

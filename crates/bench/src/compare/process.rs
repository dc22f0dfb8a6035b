//! What a process has used, as Linux tells.

use std::fs;
use std::time::Duration;

use crate::Fallible;

/// Linux counts the time of processes in hundredths of a second, for all who ask, on all machines.
const TICK: Duration = Duration::from_millis(10);

/// What it has computed: user and system, all threads, also those that have ended.
pub(crate) fn cpu(pid: u32) -> Fallible<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before the last parenthesis may have anything in it.
    let fields = stat.rsplit_once(')').ok_or("no name in stat")?.1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u32>().ok());
    let (user, system) = (ticks(11).ok_or("no utime")?, ticks(12).ok_or("no stime")?);
    Ok(TICK * (user + system))
}

/// What it has resident.
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

/// In MiB.
pub(crate) fn memory(pid: u32) -> Fallible<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        let kibibytes: Option<f64> = kibibytes.and_then(|number| number.parse().ok());
        kibibytes.map(|number| number / 1024.0).ok_or_else(|| format!("no {name} in status"))
    };
    Ok(Memory { now: mebibytes("VmRSS:")?, peak: mebibytes("VmHWM:")? })
}

/// Lets the peak begin anew.
pub(crate) fn reset_peak(pid: u32) -> Fallible<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

//! Watches how much memory the process uses, and tells policies.
//!
//! What an instance holds it keeps for as long as it lives, so idle instances are memory that can be
//! had back. A [`MemoryWatch`] looks several times a second, on a thread of its own, and raises a
//! signal while too much is in use.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use millpond_pool_core::Reason;
use millpond_pool_core::expiration::{Expired, Follow, Signal};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// Whose memory is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemorySource {
    /// What the process has in physical memory (resident set size).
    Process,
    /// What the process' control group uses, which is what a container's limit counts; it includes files
    /// that the kernel keeps in memory. Linux only, and only where the group has a limit.
    Cgroup,
}

/// Raises a signal while the process, or its control group, uses more memory than it should. Stops
/// when dropped.
///
/// ```no_run
/// use millpond_wasmtime_backend::expiration::InstanceExpiration;
/// use millpond_wasmtime_backend::{MemorySource, MemoryWatch, WasiHost, WasmPool};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Idle instances end at once while the process has more than 2 GiB.
/// let watch = MemoryWatch::new(MemorySource::Process, 2 << 30)?;
/// let pool = WasmPool::builder(WasiHost::new())
///     .expiration(move |policy| policy.or(watch.end_idle()))
///     .from_file("app.wasm")?;
/// # Ok(())
/// # }
/// ```
pub struct MemoryWatch {
    signal: Signal,
    /// Ends the thread when dropped.
    _stop: Sender<()>,
}

impl MemoryWatch {
    /// Watches: the signal is raised above `high` bytes, and lowered below nine tenths of that.
    ///
    /// # Errors
    ///
    /// If the memory in use cannot be read here.
    pub fn new(source: MemorySource, high: usize) -> Result<Self, MemoryError> {
        let mut reader = Reader::new(source)?;
        if reader.read().is_none() {
            return Err(MemoryError { source });
        }
        Ok(Self::watch(high as u64, INTERVAL, move || reader.read()))
    }

    fn watch(
        high: u64,
        interval: Duration,
        mut read: impl FnMut() -> Option<u64> + Send + 'static,
    ) -> Self {
        let signal = Signal::new();
        let (stop, stopped) = channel();
        let raised = signal.clone();
        let watcher = std::thread::Builder::new().name("millpond-memory".to_owned());
        let spawned = watcher.spawn(move || {
            loop {
                match read() {
                    Some(used) if used > high && !raised.is_raised() => {
                        tracing::info!(used, high, "above the watermark: idle instances end");
                        raised.raise();
                    }
                    Some(used) if used <= high / 10 * 9 && raised.is_raised() => {
                        tracing::info!(used, high, "well below the watermark again");
                        raised.lower();
                    }
                    _ => {}
                }
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    raised.lower();
                    return;
                }
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "memory is not watched");
        }
        Self { signal, _stop: stop }
    }

    /// Raised while too much is in use.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// A policy that ends an instance that has nothing to do while the signal is raised. Spares stay:
    /// others would be made in their place.
    pub fn end_idle(&self) -> Follow {
        self.signal.follow(Expired::Retire(Reason::Memory)).when_idle()
    }
}

impl fmt::Debug for MemoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWatch").field("signal", &self.signal).finish_non_exhaustive()
    }
}

/// Returns how many bytes of memory there are for this process: those of its control group, if that has a limit,
/// else those of the machine. `None` if the system does not say.
pub fn system_memory() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let machine = Some(system.total_memory()).filter(|bytes| *bytes > 0);
    let group = sysinfo::get_current_pid().ok().and_then(|pid| {
        let this = ProcessesToUpdate::Some(&[pid]);
        system.refresh_processes_specifics(this, false, ProcessRefreshKind::nothing());
        Some(system.process(pid)?.cgroup_limits()?.total_memory).filter(|bytes| *bytes > 0)
    });
    machine.into_iter().chain(group).min()
}

struct Reader {
    source: MemorySource,
    system: System,
}

impl Reader {
    fn new(source: MemorySource) -> Result<Self, MemoryError> {
        let system = System::new().map_err(|_| MemoryError { source })?;
        Ok(Self { source, system })
    }

    /// Bytes in use.
    fn read(&mut self) -> Option<u64> {
        match self.source {
            MemorySource::Process => {
                let pid = sysinfo::get_current_pid().ok()?;
                let memory = ProcessRefreshKind::nothing().with_memory();
                let this = ProcessesToUpdate::Some(&[pid]);
                self.system.refresh_processes_specifics(this, false, memory);
                Some(self.system.process(pid)?.memory())
            }
            MemorySource::Cgroup => {
                let pid = sysinfo::get_current_pid().ok()?;
                let this = ProcessesToUpdate::Some(&[pid]);
                self.system.refresh_processes_specifics(this, false, ProcessRefreshKind::nothing());
                let limits = self.system.process(pid)?.cgroup_limits()?;
                Some(limits.total_memory.saturating_sub(limits.free_memory))
            }
        }
    }
}

/// The memory in use cannot be read.
#[derive(Clone, Debug)]
pub struct MemoryError {
    source: MemorySource,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.source {
            MemorySource::Process => "process",
            MemorySource::Cgroup => "process' control group",
        };
        write!(f, "cannot read how much memory the {whose} uses on this system")
    }
}

impl std::error::Error for MemoryError {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::{MemorySource, MemoryWatch, Reader};

    #[test]
    fn the_process_uses_memory() {
        let mut reader = Reader::new(MemorySource::Process).expect("this system is known");
        let before = reader.read().expect("this system says");
        let block = vec![1u8; 64 << 20];
        let after = reader.read().expect("it still does");
        assert!(after >= before + (32 << 20), "{before} and then {after}");
        drop(block);
    }

    #[test]
    fn there_is_memory() {
        assert!(super::system_memory().expect("this system says") > 64 << 20);
    }

    #[test]
    fn the_signal_has_hysteresis() {
        let used = Arc::new(AtomicU64::new(0));
        // Each look waits until the test has seen the one before.
        let (looked, look) = sync_channel(0);
        let now = Arc::clone(&used);
        let watch = MemoryWatch::watch(100, Duration::ZERO, move || {
            let _ = looked.send(());
            Some(now.load(Ordering::SeqCst))
        });
        let mut raised_at = |bytes| {
            used.store(bytes, Ordering::SeqCst);
            // One that began before the change, one after it, and its end.
            for _ in 0..3 {
                look.recv_timeout(Duration::from_secs(30)).expect("it looks again and again");
            }
            watch.signal().is_raised()
        };
        let raised: Vec<_> = [0, 100, 101, 95, 90, 95, 200].map(&mut raised_at).into();
        assert_eq!(raised, [false, false, true, true, false, false, true]);
        drop(look);
    }
}

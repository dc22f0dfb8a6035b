//! What an instance leaves behind: a profile of what it computed, a core dump if it trapped.
//!
//! A profile belongs to its instance's store. The callback that interrupts the guest owns it and
//! samples the guest's stack; when the store is dropped, however that comes about, it is written.
//! A core dump is in the error of a trap and is written before the hook sees the store, which it
//! needs. Both take their time, so an instance that leaves either is ended on a thread where
//! blocking is fine, and counts until then: its slot is not given to another one, a drain waits
//! for it, and a disk that is too slow cannot make dumps pile up in memory.
//!
//! Calls of the host are gaps in a profile. To mark them takes wasmtime's call hooks, a feature for
//! which every call pays, whether anybody profiles or not.
//!
//! Only one thing is written where it happens to be: the profile of an instance that is stopped
//! while it starts, or by the end of the runtime.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_engine::{TICK, tick};
use millpond_pool_core::InstanceId;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::component::Component;
use wasmtime::{AsContext, GuestProfiler, Store, WasmCoreDump};

/// Samples in one profile: 100 seconds of computing. An instance may live for ever, its profile is
/// in memory until it ends.
const MAX_SAMPLES: u32 = 100_000;

/// Instances that are written about at a time, in the whole process.
const MAX_WRITERS: usize = 4;

/// The records that a pool was asked for.
pub(crate) struct RecordDirs {
    /// What the files are called after.
    pub(crate) name: String,
    pub(crate) profiles: Option<PathBuf>,
    pub(crate) core_dumps: Option<PathBuf>,
}

impl Default for RecordDirs {
    fn default() -> Self {
        Self { name: "component".to_owned(), profiles: None, core_dumps: None }
    }
}

impl RecordDirs {
    /// Makes the directories that are not there, and sees to it that files can be made in them.
    pub(crate) fn check(&self) -> Result<(), DirError> {
        let dirs = [("profiles", &self.profiles), ("core dumps", &self.core_dumps)];
        for (what, dir) in dirs {
            let Some(dir) = dir else { continue };
            check(dir).map_err(|error| DirError { what, dir: dir.clone(), error })?;
        }
        Ok(())
    }
}

/// A directory that records cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {what} to {}: {error}", dir.display())]
pub(crate) struct DirError {
    what: &'static str,
    dir: PathBuf,
    error: io::Error,
}

/// The records of a pool's instances.
pub(crate) struct Records {
    dirs: RecordDirs,
    component: Component,
    /// The ticks of the engine so far.
    ticks: Arc<AtomicU64>,
    runtime: Handle,
}

impl Records {
    /// # Errors
    ///
    /// The engine's code cannot be profiled.
    pub(crate) fn new(dirs: RecordDirs, component: &Component) -> wasmtime::Result<Self> {
        let component = component.clone();
        let ticks = tick(component.engine());
        let records = Self { dirs, component, ticks, runtime: Handle::current() };
        if records.dirs.profiles.is_some() {
            records.profiler()?;
        }
        Ok(records)
    }

    fn profiler(&self) -> wasmtime::Result<GuestProfiler> {
        let component = self.component.clone();
        let none = std::iter::empty();
        GuestProfiler::new_component(
            component.clone().engine(),
            &self.dirs.name,
            TICK,
            component,
            none,
        )
    }

    /// The profile of an instance that is about to start.
    pub(crate) fn profile(self: &Arc<Self>, instance: InstanceId) -> Option<Profile> {
        self.dirs.profiles.as_ref()?;
        let resumed = Arc::new(AtomicU64::new(self.ticks.load(Ordering::Relaxed)));
        let resumed = Resumed { at: resumed, ticks: Arc::clone(&self.ticks) };
        Some(Profile { records: Arc::clone(self), instance, profiler: None, samples: 0, resumed })
    }

    /// Whether an instance that ends like this leaves something that takes time to write.
    pub(crate) fn are_due(&self, error: Option<&wasmtime::Error>) -> bool {
        self.dirs.profiles.is_some() || error.and_then(|error| self.dump_in(error)).is_some()
    }

    /// Does something on a thread where blocking is fine.
    pub(crate) fn aside(&self, work: impl FnOnce() + Send + 'static) {
        aside(&self.runtime, work);
    }

    /// Drops the store of an instance that failed to start.
    pub(crate) async fn not_started<T: Send>(
        self: &Arc<Self>,
        mut store: Store<T>,
        instance: InstanceId,
        error: wasmtime::Error,
    ) -> wasmtime::Error {
        if !self.are_due(Some(&error)) {
            return error;
        }
        let records = Arc::clone(self);
        let written = self.runtime.spawn_blocking(move || {
            records.core_dump(&mut store, instance, &error);
            drop(store);
            error
        });
        written.await.unwrap_or_else(wasmtime::Error::new)
    }

    /// Writes the core dump that the error holds, if it does and is wanted.
    pub(crate) fn core_dump<T: 'static>(
        &self,
        store: &mut Store<T>,
        instance: InstanceId,
        error: &wasmtime::Error,
    ) {
        let Some((dir, dump)) = self.dump_in(error) else { return };
        let serialized = catch_unwind(AssertUnwindSafe(|| dump.serialize(store, &self.dirs.name)));
        let Ok(bytes) = serialized else {
            tracing::error!(instance.id = instance.number(), "making a core dump panicked");
            return;
        };
        let write = |file: &mut Out| file.write_all(&bytes).map_err(Into::into);
        if let Some(path) = self.write(dir, instance, "coredump", write) {
            let path = path.display();
            tracing::info!(instance.id = instance.number(), %path, "wrote a core dump");
        }
    }

    /// An exit is an error too, and nothing to look into.
    fn dump_in<'a>(&'a self, error: &'a wasmtime::Error) -> Option<(&'a Path, &'a WasmCoreDump)> {
        let dir = self.dirs.core_dumps.as_deref()?;
        let dump = error.downcast_ref::<WasmCoreDump>()?;
        (!error.is::<wasmtime_wasi::I32Exit>()).then_some((dir, dump))
    }

    /// Writes a file of an instance's own. A failure is logged: nobody could do more about it.
    fn write(
        &self,
        dir: &Path,
        instance: InstanceId,
        extension: &str,
        write: impl FnOnce(&mut Out) -> wasmtime::Result<()>,
    ) -> Option<PathBuf> {
        let stem = format!("{}-{}-{}", self.dirs.name, std::process::id(), instance.number());
        fill(dir, &stem, extension, write)
            .inspect_err(|error: &wasmtime::Error| {
                let (id, dir) = (instance.number(), dir.display());
                tracing::error!(instance.id = id, %dir, %error, "cannot write a {extension} file");
            })
            .ok()
    }
}

/// Not more than a few things at a time: a core dump is in memory until it is written.
fn aside(runtime: &Handle, work: impl FnOnce() + Send + 'static) {
    static WRITERS: Semaphore = Semaphore::const_new(MAX_WRITERS);
    let blocking = runtime.clone();
    runtime.spawn(async move {
        let writer = WRITERS.acquire().await;
        let _ = blocking.spawn_blocking(work).await;
        drop(writer);
    });
}

type Out = BufWriter<File>;

/// The profile of an instance. Its store's: it is written when that is dropped.
pub(crate) struct Profile {
    records: Arc<Records>,
    instance: InstanceId,
    /// Made for the first sample: it collects the names of all functions, and many instances end
    /// before they have computed for a tick.
    profiler: Option<GuestProfiler>,
    samples: u32,
    resumed: Resumed,
}

impl Profile {
    /// Samples the guest, which has been interrupted; it is to be told when it goes on.
    pub(crate) fn interrupted(&mut self, store: impl AsContext) -> Resumed {
        // The first interruption after a wait of some ticks comes at once, whatever the guest does
        // there: as a sample it would say that it had computed all the time.
        if !self.resumed.waited() && self.samples < MAX_SAMPLES {
            self.sample(store);
        }
        self.resumed.clone()
    }

    fn sample(&mut self, store: impl AsContext) {
        let profiler = match &mut self.profiler {
            Some(profiler) => profiler,
            none => match self.records.profiler() {
                Ok(profiler) => none.insert(profiler),
                Err(error) => {
                    tracing::error!(%error, "cannot profile an instance");
                    self.samples = MAX_SAMPLES;
                    return;
                }
            },
        };
        profiler.sample(store, TICK);
        self.samples += 1;
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let Some(profiler) = self.profiler.take() else { return };
        let Some(dir) = &self.records.dirs.profiles else { return };
        self.records.write(dir, self.instance, "json", |file| profiler.finish(file));
    }
}

/// The tick in which a guest was last let run.
#[derive(Clone)]
pub(crate) struct Resumed {
    at: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
}

impl Resumed {
    /// The guest goes on.
    pub(crate) fn now(&self) {
        self.at.store(self.ticks.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether more ticks have passed since than a guest is let compute.
    fn waited(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) > self.at.load(Ordering::Relaxed) + 1
    }
}

/// An error for the log: without the inventory of the store that a core dump says it is made of.
pub(crate) fn without_dump(error: &wasmtime::Error) -> String {
    if !error.is::<WasmCoreDump>() {
        return format!("{error:?}");
    }
    let causes = error.chain().map(ToString::to_string);
    let causes: Vec<_> = causes.filter(|cause| !cause.starts_with("wasm coredump ")).collect();
    causes.join("\nCaused by: ")
}

/// A file that was not there before, and that only its owner reads: it may hold whatever the guest
/// had in its memory. If the name is taken, a number is appended.
fn create(dir: &Path, stem: &str, extension: &str) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut name = format!("{stem}.{extension}");
    for again in 2_u64.. {
        let path = dir.join(&name);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                name = format!("{stem}-{again}.{extension}");
            }
            opened => return opened.map(|file| (path, file)),
        }
    }
    unreachable!("there are not that many files")
}

/// A new file with what `write` puts into it, or none.
fn fill(
    dir: &Path,
    stem: &str,
    extension: &str,
    write: impl FnOnce(&mut Out) -> wasmtime::Result<()>,
) -> wasmtime::Result<PathBuf> {
    let (path, file) = create(dir, stem, extension)?;
    let mut out = BufWriter::new(file);
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    if written.is_err() {
        // Half of one is of no use.
        let _ = std::fs::remove_file(&path);
    }
    written.map(|()| path)
}

fn check(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })?;
    let (path, _) = create(dir, &format!("millpond-{}", std::process::id()), "check")?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests;

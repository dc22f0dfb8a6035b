//! What an instance leaves behind: a profile of what it computed, a core dump if it trapped.
//!
//! A profile belongs to its instance's store. The callback that interrupts the guest owns it and
//! samples the guest's stack; when the store is dropped, however that comes about, it is written.
//! A core dump is in the error of a trap. It is made before the hook sees the store, which it needs, on a
//! thread where blocking is fine; the instance counts until then, so there cannot be more of them than
//! instances.
//!
//! To write them is another matter ([`writer`]): by then the instance is gone, and a disk that is slow
//! or full holds up nothing. Guests decide how often they trap, so there is a [`quota`] for each
//! directory. What is beyond it is not made at all, but counted.
//!
//! Calls of the host are gaps in a profile. Marking them takes wasmtime's call hooks, a feature that
//! makes every call slower, also without a profiler.

mod file;
mod quota;
mod writer;

use std::fmt;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millpond_engine::{LogRate, TICK, Ticks, printable, unlogged};
use millpond_pool_core::InstanceId;
use tokio::runtime::Handle;
use wasmtime::component::Component;
use wasmtime::{AsContext, GuestProfiler, Store, WasmCoreDump};

pub use quota::RecordLimits;
pub use writer::RecordCounts;

use file::{Out, check, fill};
use quota::{Full, Place, Quota};
use writer::{Begun, LOST, Outstanding, WRITTEN};

/// Samples in one profile: 100 seconds of computing. An instance may live for ever, its profile is
/// in memory until it ends.
const MAX_SAMPLES: u32 = 100_000;

/// Says that something was not written, now and then.
static NOT_WRITTEN: LogRate = LogRate::new(3, Duration::from_secs(10));

/// The records that a pool was asked for.
pub(crate) struct RecordDirs {
    /// What the files are called after.
    pub(crate) name: String,
    pub(crate) profiles: Option<PathBuf>,
    pub(crate) core_dumps: Option<PathBuf>,
    pub(crate) limits: RecordLimits,
}

impl Default for RecordDirs {
    fn default() -> Self {
        let (profiles, core_dumps, limits) = Default::default();
        Self { name: "component".to_owned(), profiles, core_dumps, limits }
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
    name: String,
    profiles: Option<Dir>,
    core_dumps: Option<Dir>,
    limits: RecordLimits,
    component: Component,
    ticks: Ticks,
    runtime: Handle,
    outstanding: Outstanding,
}

/// A directory that is written to.
struct Dir {
    path: PathBuf,
    quota: Arc<Quota>,
}

impl Dir {
    fn new(path: PathBuf) -> Self {
        Self { quota: Quota::of(&path), path }
    }
}

/// A core dump that is to be made: there is a place for its file.
pub(crate) struct DumpPlace(Place, Begun);

impl Records {
    /// # Errors
    ///
    /// The engine's code cannot be profiled.
    pub(crate) fn new(
        dirs: RecordDirs,
        component: &Component,
        ticks: Ticks,
    ) -> wasmtime::Result<Self> {
        let RecordDirs { name, profiles, core_dumps, limits } = dirs;
        let records = Self {
            name,
            profiles: profiles.map(Dir::new),
            core_dumps: core_dumps.map(Dir::new),
            limits,
            component: component.clone(),
            ticks,
            runtime: Handle::current(),
            outstanding: Outstanding::default(),
        };
        if records.profiles.is_some() {
            records.profiler()?;
        }
        Ok(records)
    }

    fn profiler(&self) -> wasmtime::Result<GuestProfiler> {
        let component = self.component.clone();
        let none = std::iter::empty();
        GuestProfiler::new_component(component.clone().engine(), &self.name, TICK, component, none)
    }

    /// The profile of an instance that is about to start.
    pub(crate) fn profile(self: &Arc<Self>, instance: InstanceId) -> Option<Profile> {
        self.profiles.as_ref()?;
        let resumed = Arc::new(AtomicU64::new(self.ticks.count()));
        let resumed = Resumed { at: resumed, ticks: self.ticks.clone() };
        Some(Profile { records: Arc::clone(self), instance, profiler: None, samples: 0, resumed })
    }

    /// A place for the core dump that the error of an instance holds, if it does and is wanted. To make it takes time.
    pub(crate) fn place_for_dump(
        &self,
        instance: InstanceId,
        error: Option<&wasmtime::Error>,
    ) -> Option<DumpPlace> {
        let (dir, _) = self.dump_in(error?)?;
        self.place(dir, instance, "core dump").map(|(place, begun)| DumpPlace(place, begun))
    }

    fn place(&self, dir: &Dir, instance: InstanceId, what: &str) -> Option<(Place, Begun)> {
        match dir.quota.reserve(self.limits, Instant::now()) {
            Ok(place) => Some((place, self.outstanding.begin())),
            Err(full) => {
                not_written(what, instance, &dir.path, &full.as_str());
                None
            }
        }
    }

    /// Does something on a thread where blocking is fine.
    pub(crate) fn spawn_blocking_limited(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.runtime.spawn_blocking(work));
    }

    /// Waits until what its instances left is written, but not for ever.
    pub(crate) async fn written(&self) {
        self.outstanding.none().await;
    }

    /// Drops the store of an instance that failed to start.
    pub(crate) async fn not_started<T: Send>(
        self: &Arc<Self>,
        mut store: Store<T>,
        instance: InstanceId,
        error: wasmtime::Error,
    ) -> wasmtime::Error {
        let Some(place) = self.place_for_dump(instance, Some(&error)) else { return error };
        let records = Arc::clone(self);
        let made = self.runtime.spawn_blocking(move || {
            records.core_dump(&mut store, instance, &error, place);
            drop(store);
            error
        });
        made.await.unwrap_or_else(wasmtime::Error::new)
    }

    /// Makes the core dump that the error holds, and has it written.
    pub(crate) fn core_dump<T: 'static>(
        &self,
        store: &mut Store<T>,
        instance: InstanceId,
        error: &wasmtime::Error,
        DumpPlace(place, begun): DumpPlace,
    ) {
        let Some((dir, dump)) = self.dump_in(error) else { return };
        let made = catch_unwind(AssertUnwindSafe(|| dump.serialize(store, &self.name)));
        let Ok(bytes) = made else {
            tracing::error!(instance.id = instance.number(), "making a core dump panicked");
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if bytes.len() as u64 > place.most() {
            return not_written("core dump", instance, &dir.path, &Full::Bytes.as_str());
        }
        let record = Record::new(self, dir, instance, "core dump", "coredump");
        writer::write(move || {
            record.write(place, |file| file.write_all(&bytes).map_err(Into::into));
            drop(begun);
        });
    }

    /// An exit is an error too, and nothing to look into.
    fn dump_in<'a>(&'a self, error: &'a wasmtime::Error) -> Option<(&'a Dir, &'a WasmCoreDump)> {
        let dir = self.core_dumps.as_ref()?;
        let dump = error.downcast_ref::<WasmCoreDump>()?;
        (!error.is::<wasmtime_wasi::I32Exit>()).then_some((dir, dump))
    }
}

/// A file of an instance's own that is to be written. Dropped before that, it is lost.
struct Record {
    what: &'static str,
    dir: PathBuf,
    stem: String,
    extension: &'static str,
    instance: InstanceId,
    done: bool,
}

impl Record {
    fn new(
        records: &Records,
        dir: &Dir,
        instance: InstanceId,
        what: &'static str,
        extension: &'static str,
    ) -> Self {
        let stem = format!("{}-{}-{}", records.name, std::process::id(), instance.number());
        Self { what, dir: dir.path.clone(), stem, extension, instance, done: false }
    }

    fn write(mut self, place: Place, write: impl FnOnce(&mut Out) -> wasmtime::Result<()>) {
        self.done = true;
        match fill(&self.dir, &self.stem, self.extension, place.most(), write) {
            Ok((path, bytes)) => {
                place.written(bytes);
                WRITTEN.fetch_add(1, Ordering::Relaxed);
                let (id, path) = (self.instance.number(), path.display());
                tracing::info!(instance.id = id, %path, bytes, "wrote a {}", self.what);
            }
            Err(error) => not_written(self.what, self.instance, &self.dir, &error),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.done {
            not_written(self.what, self.instance, &self.dir, &"there is no thread to do it");
        }
    }
}

/// Counts what is lost, and logs it now and then.
fn not_written(what: &str, instance: InstanceId, dir: &Path, error: &dyn fmt::Display) {
    LOST.fetch_add(1, Ordering::Relaxed);
    if let Some(more) = NOT_WRITTEN.allow() {
        let (id, dir) = (instance.number(), dir.display());
        tracing::error!(instance.id = id, %dir, %error, unlogged = unlogged(more), "cannot write a {what}");
    }
}

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
        let Some(dir) = &self.records.profiles else { return };
        let Some((place, begun)) = self.records.place(dir, self.instance, "profile") else {
            return;
        };
        let record = Record::new(&self.records, dir, self.instance, "profile", "json");
        writer::write(move || {
            record.write(place, |file| profiler.finish(file));
            drop(begun);
        });
    }
}

/// The tick in which a guest was last let run.
#[derive(Clone)]
pub(crate) struct Resumed {
    at: Arc<AtomicU64>,
    ticks: Ticks,
}

impl Resumed {
    /// The guest goes on.
    pub(crate) fn now(&self) {
        self.at.store(self.ticks.count(), Ordering::Relaxed);
    }

    /// Whether more ticks have passed since than a guest is let compute.
    fn waited(&self) -> bool {
        is_late(self.at.load(Ordering::Relaxed), self.ticks.count())
    }
}

fn is_late(resumed: u64, now: u64) -> bool {
    now > resumed + 1
}

/// An error for the log, on one line: without the inventory of the store that a core dump says it is made of.
pub(crate) fn for_log(error: &wasmtime::Error) -> String {
    if !error.is::<WasmCoreDump>() {
        return printable(format_args!("{error:?}"));
    }
    printable(fmt::from_fn(|f| {
        let causes = error.chain().map(printable);
        let causes = causes.filter(|cause| !cause.starts_with("wasm coredump "));
        for (nth, cause) in causes.enumerate() {
            let between = if nth > 0 { "\nCaused by: " } else { "" };
            write!(f, "{between}{cause}")?;
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests;

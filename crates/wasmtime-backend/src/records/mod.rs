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

mod core_dump;
mod file;
mod profile;
mod quota;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millpond_engine::{LogRate, Ticks, unlogged};
use millpond_pool_core::InstanceId;
use tokio::runtime::Handle;
use wasmtime::component::Component;

pub(crate) use core_dump::DumpPlace;
pub use quota::RecordLimits;
pub use writer::RecordCounts;

use file::{Out, check, fill};
use quota::{Place, Quota};
use writer::{Begun, LOST, Outstanding, WRITTEN};

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
    pub(crate) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.runtime.spawn_blocking(work));
    }

    /// Waits until what its instances left is written, but not for ever.
    pub(crate) async fn written(&self) {
        self.outstanding.none().await;
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

#[cfg(test)]
mod tests;

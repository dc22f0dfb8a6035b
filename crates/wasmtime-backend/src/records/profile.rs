//! Profiles of what instances computed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_engine::{TICK, Ticks};
use millpond_pool_core::InstanceId;
use wasmtime::{AsContext, GuestProfiler};

use super::{Record, Records, writer};

/// Samples in one profile: 100 seconds of computing. An instance may live for ever, its profile is
/// in memory until it ends.
const MAX_SAMPLES: u32 = 100_000;

impl Records {
    pub(super) fn profiler(&self) -> wasmtime::Result<GuestProfiler> {
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

pub(super) fn is_late(resumed: u64, now: u64) -> bool {
    now > resumed + 1
}

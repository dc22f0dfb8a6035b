//! Core dumps of instances that trapped.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millpond_pool_core::InstanceId;
use wasmtime::{Store, WasmCoreDump};

use super::quota::{Full, Place};
use super::writer::{Begun, LOST};
use super::{Dir, Record, Records, not_written, writer};

/// A core dump that is to be made: there is a place for its file.
pub(crate) struct DumpPlace(Place, Begun);

impl Records {
    /// A place for the core dump that the error of an instance holds, if it does and is wanted. To make it takes time.
    pub(crate) fn place_for_dump(
        &self,
        instance: InstanceId,
        error: Option<&wasmtime::Error>,
    ) -> Option<DumpPlace> {
        let (dir, _) = self.dump_in(error?)?;
        self.place(dir, instance, "core dump").map(|(place, begun)| DumpPlace(place, begun))
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

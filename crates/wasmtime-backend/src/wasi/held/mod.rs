//! What the host holds for a guest in its resources.
//!
//! Nothing tells the host of what goes into a table and what becomes of it there: a map of fields grows behind
//! its entry, a body has chunks in a channel. So it is counted, by going through the table. Each call of the
//! guest adds a known amount at most. An instance is charged for some calls ahead, and until these are made there is
//! nothing to count: what it holds is never more than what it is charged for, whenever it stops. A guest that holds too
//! much is cut off: its resources are gone, and it traps.

mod count;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body::Body;
use millpond_engine::{Charge, HostLimits, LogRate, MemoryExhausted, unlogged};
use wasmtime::component::ResourceTable;

use count::{CONNECTION, Count};
pub(super) use count::{TRAILERS, size};

/// Bodies that get chunks of full size.
const LARGE_BODIES: usize = 16;
/// Bytes that a header or value takes in a map, which doubles and keeps the room of those that are deleted.
const SET: usize = 144;
/// Headers and values that may be set before the room of those that are gone is given back: 2 MiB.
const MOST_SET: usize = (2 << 20) / SET;
/// Bytes that are counted for one resource at most, so that no sum of them overflows.
const MOST_COUNTED: usize = 1 << 40;
/// Bytes of a place in a table, which stays with the table when it is free.
const PLACE: usize = 48;
/// A body beyond those gets a chunk this much smaller.
const SMALLER: usize = 8;

/// The account of one guest.
pub(super) struct Held {
    limits: HostLimits,
    /// What the calls since the last count can have made of it, at most.
    bound: usize,
    /// What `bound` may be until there is a count: it is charged for.
    ahead: usize,
    /// What is charged besides.
    uncounted: usize,
    /// Headers and values that were set since room was last given back.
    set: usize,
    /// Entries that the table had at most, as far as they were counted.
    peak: usize,
    /// Bytes that it has put into the store of `wasi:keyvalue`.
    stored: usize,
    /// Its guest is one of wasi 0.3.
    concurrent: bool,
    /// It has files, which keep what was last written to them.
    has_files: bool,
    /// How many open bodies have chunks of full size, at most.
    large_bodies: usize,
    /// Bytes that are under way, wherever they are: of requests, and of directories that are being listed.
    under_way: Option<Arc<AtomicUsize>>,
    charge: Charge,
}

impl Held {
    pub(super) fn new(limits: HostLimits, charge: Charge) -> Self {
        let (bound, ahead, set, peak, stored, large_bodies, under_way) = Default::default();
        let (concurrent, has_files, uncounted) = (true, true, limits.uncounted(true));
        Self {
            limits,
            bound,
            ahead,
            uncounted,
            set,
            peak,
            stored,
            concurrent,
            has_files,
            large_bodies,
            under_way,
            charge,
        }
    }

    pub(super) fn limits(&self) -> &HostLimits {
        &self.limits
    }

    /// Charges what an instance is charged from its start, so that for want of memory it is a start that waits, and not a
    /// guest that runs and has done nothing odd. Its store of `wasi:keyvalue` begins with `preset` bytes, which the operator
    /// gave it.
    ///
    /// # Errors
    ///
    /// If all instances together hold too much for another one.
    pub(super) fn begin(&mut self, kind: GuestKind, preset: usize) -> Result<(), MemoryExhausted> {
        (self.concurrent, self.has_files) = (kind.concurrent, kind.has_files);
        self.uncounted = self.limits.uncounted(kind.concurrent).saturating_add(preset);
        if self.charge_ahead(0) { Ok(()) } else { Err(self.charge.refuse()) }
    }

    /// Notes a call of the guest, before it is made. If the guest holds too much, its resources are gone.
    pub(super) fn call(&mut self, table: &mut ResourceTable) {
        self.bound = self.bound.saturating_add(self.limits.call_growth());
        if self.bound > self.ahead {
            self.look_ahead(table);
        }
    }

    /// Counts what there is, and charges for it and some calls more.
    #[cold]
    fn look_ahead(&mut self, table: &mut ResourceTable) {
        let most = self.limits.resource_bytes;
        let (mut bytes, _) = self.count(table);
        let mut charged = bytes <= most && self.charge_ahead(bytes);
        if self.set > MOST_SET || (self.set > 0 && !charged) {
            self.set = 0;
            count::release(table);
            (bytes, _) = self.count(table);
            charged = bytes <= most && self.charge_ahead(bytes);
        }
        if bytes > most {
            self.cut_off(table, bytes, "a guest makes the host hold too much and is cut off");
        } else if !charged {
            self.charge.refuse();
            let why = "a guest is cut off: all instances together hold as much as they may";
            self.cut_off(table, bytes, why);
        }
        self.bound = self.bound.saturating_add(self.limits.call_growth());
    }

    /// Takes a guest's resources away, all at once: it may be long until it asks for one, and traps.
    fn cut_off(&mut self, table: &mut ResourceTable, bytes: usize, why: &'static str) {
        *table = ResourceTable::new();
        table.set_max_capacity(0);
        (self.set, self.peak) = (0, 0);
        let (left, _) = self.count(table);
        // It is less than before: there is room if it was charged then.
        let _ = self.charge_ahead(left);
        static LINES: LogRate = LogRate::new(20, Duration::from_secs(1));
        if let Some(others) = LINES.allow() {
            let most = self.limits.resource_bytes;
            tracing::warn!(bytes, most, unlogged = unlogged(others), "{why}");
        }
    }

    /// Charges for so many bytes of resources, and for what some calls may add; if there is no room for these, for what
    /// one call may add. Returns false if there is none for that either.
    fn charge_ahead(&mut self, bytes: usize) -> bool {
        if !self.charge.has_account() {
            self.ahead = self.limits.resource_bytes;
            return true;
        }
        let next = bytes.saturating_add(self.limits.call_growth());
        let from_start = self.limits.resources_charged(0);
        for ahead in [self.limits.resources_charged(bytes), next.max(from_start)] {
            if self.charge.set(ahead.saturating_add(self.uncounted)) {
                self.ahead = ahead;
                return true;
            }
        }
        false
    }

    /// Counts the resources in the table. A guest that has fewer than before is charged for less.
    pub(super) fn settle(&mut self, table: &mut ResourceTable) -> usize {
        let (bytes, resources) = self.count(table);
        if self.ahead > self.limits.resources_charged(0) {
            // If there is no room to go on as far, it is charged for what it has already.
            let _ = self.charge_ahead(bytes);
        }
        resources
    }

    /// Counts the bytes and the resources in the table.
    fn count(&mut self, table: &mut ResourceTable) -> (usize, usize) {
        // More would be too much in any case.
        let most = self.limits.resource_bytes.min(MOST_COUNTED);
        let written = if self.has_files { self.limits.call_bytes.min(most) } else { 0 };
        let count = Count::of(table, written);
        if count.maps == 0 {
            // Nor is there room of what they had.
            self.set = 0;
        }
        self.peak = self.peak.max(count.entries);
        self.large_bodies = self.large_bodies.min(count.bodies);
        let chunk = self.limits.body_chunk;
        let small = count.bodies - self.large_bodies;
        let chunks = (self.large_bodies.saturating_mul(chunk))
            .saturating_add(small.saturating_mul(smaller(chunk)))
            .saturating_mul(2);
        let under_way = self.under_way.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        let bytes = count
            .bytes
            .saturating_add(self.set * SET + self.stored)
            .saturating_add((self.peak - count.entries) * PLACE)
            .saturating_add(chunks)
            .saturating_add(under_way);
        self.bound = bytes;
        (bytes, count.entries)
    }

    /// Returns how much of a new body is to be taken from the guest at a time.
    pub(super) fn chunk(&mut self) -> usize {
        let chunk = self.limits.body_chunk;
        if self.large_bodies < LARGE_BODIES {
            self.large_bodies += 1;
            self.grow(chunk.saturating_mul(2));
            return chunk;
        }
        self.grow(smaller(chunk).saturating_mul(2));
        smaller(chunk)
    }

    /// Notes a header that is set, or one of its values.
    pub(super) fn set(&mut self) {
        self.set += 1;
        self.grow(SET);
    }

    /// Notes that a call adds this, beside what any call may add.
    fn grow(&mut self, bytes: usize) {
        self.bound = self.bound.saturating_add(bytes);
    }

    /// Notes that something was stored in place of something else, of so many bytes. Returns false if that is too much:
    /// half of what the host may hold for a guest.
    #[must_use]
    pub(super) fn store(&mut self, before: usize, bytes: usize) -> bool {
        let stored = self.stored.saturating_sub(before).saturating_add(bytes);
        // In a full store, something smaller may take the place of something else.
        let fits = bytes <= before || stored <= self.limits.resource_bytes / 2;
        if fits {
            self.stored = stored;
            self.grow(bytes);
        }
        fits
    }

    /// Counts bytes that are in no table, until what this returns is dropped.
    pub(super) fn under_way(&mut self, bytes: usize) -> UnderWay {
        self.grow(bytes);
        let sum = Arc::clone(self.under_way.get_or_insert_default());
        sum.fetch_add(bytes, Ordering::Relaxed);
        UnderWay { bytes, sum }
    }

    /// Counts a request that is sent, until all of what this returns is dropped. `None` if there is no room for it: requests
    /// may take three quarters of what the host holds for a guest, so that they alone cut no guest off.
    pub(super) fn send<B: Body>(&mut self, request: &http::Request<B>) -> Option<Arc<UnderWay>> {
        let chunks = self.limits.body_chunk.saturating_mul(2);
        // With 0.3, the host takes them whatever they are.
        let trailers = if self.concurrent { self.limits.call_bytes } else { TRAILERS };
        let body = if request.body().is_end_stream() { 0 } else { chunks.saturating_add(trailers) };
        let bytes = body.saturating_add(CONNECTION + size(request.headers()));
        let sent = self.under_way(bytes);
        if sent.sum.load(Ordering::Relaxed) > self.limits.resource_bytes / 4 * 3 {
            return None;
        }
        // Rather this request fails than all of its guest, if there is no room: by the estimate, as there is no table here
        // to count.
        if self.bound > self.ahead && !self.charge_ahead(self.bound) {
            self.charge.refuse();
            return None;
        }
        Some(Arc::new(sent))
    }
}

/// What a guest is, as far as it matters to what is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestKind {
    /// It is one of wasi 0.3.
    pub(super) concurrent: bool,
    /// It has directories.
    pub(super) has_files: bool,
}

/// Bytes that are under way.
pub(super) struct UnderWay {
    bytes: usize,
    /// Of all that are.
    sum: Arc<AtomicUsize>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn smaller(chunk: usize) -> usize {
    (chunk / SMALLER).max(1)
}

#[cfg(test)]
mod tests;

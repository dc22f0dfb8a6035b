//! What the host holds for a guest in its resources.
//!
//! Nothing tells the host of what goes into a table and what becomes of it there: a map of fields grows behind
//! its entry, a body has chunks in a channel. So it is counted, by going through the table. Each call of the
//! guest adds a known amount at most. An instance is charged for some calls ahead, and until these are made there is
//! nothing to count: what it holds is never more than what it is charged for, whenever it stops. A guest that holds too
//! much is cut off: its resources are gone, and it traps.

use std::any::{Any, TypeId};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http_body::Body;
use millpond_engine::{Charge, HostLimits, LogRate, MemoryExhausted, unlogged};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError, ReaddirIterator};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest,
    HostOutgoingResponse,
};
use wasmtime_wasi_http::{FieldMap, p3};

use super::fields::Release;
use super::files::DIRECTORY;

/// Bytes that any entry of a table takes: itself, its box, its place among its parent's children.
const ENTRY: usize = 320;
/// Bytes that a header takes besides its name and its value, and the place of one that is not there.
const HEADER: usize = 112;
/// Bytes that the trailers of a body may have where the host keeps them until the body was sent.
pub(super) const TRAILERS: usize = 16 << 10;
/// Bytes that a body takes besides its chunks: its channels, and its trailers.
const BODY: usize = (2 << 10) + TRAILERS;
/// Bytes that wait on a connection to a server, in either direction.
const CONNECTION: usize = 64 << 10;
/// Bodies that get chunks of full size.
const LARGE_BODIES: usize = 16;
/// Bytes that a header or value takes in a map, which doubles and keeps the room of those that are deleted.
const SET: usize = 144;
/// Headers and values that may be set before the room of those that are gone is given back: 2 MiB.
const MOST_SET: usize = (2 << 20) / SET;
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
    /// Bytes of requests that are under way, wherever they are.
    sending: Option<Arc<AtomicUsize>>,
    charge: Charge,
}

impl Held {
    pub(super) fn new(limits: HostLimits, charge: Charge) -> Self {
        let (bound, ahead, set, peak, stored, large_bodies, sending) = Default::default();
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
            sending,
            charge,
        }
    }

    pub(super) fn limits(&self) -> &HostLimits {
        &self.limits
    }

    /// Charges what an instance is charged from its start, so that for want of memory it is a start that waits, and not a
    /// guest that runs and has done nothing odd.
    ///
    /// # Errors
    ///
    /// If all instances together hold too much for another one.
    pub(super) fn begin(&mut self, guest: GuestKind) -> Result<(), MemoryExhausted> {
        (self.concurrent, self.has_files) = (guest.concurrent, guest.has_files);
        self.uncounted = self.limits.uncounted(guest.concurrent).saturating_add(guest.stored);
        if self.charge_ahead(0) { Ok(()) } else { Err(self.charge.exhausted()) }
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
            let mut maps = Release::default();
            table.iter_mut().for_each(|entry| release(entry, &mut maps));
            (bytes, _) = self.count(table);
            charged = bytes <= most && self.charge_ahead(bytes);
        }
        if bytes > most {
            self.cut_off(table, bytes, "a guest makes the host hold too much and is cut off");
        } else if !charged {
            self.charge.refused();
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
        // It is less than before, for which there was room.
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
        let mut count = Count::default();
        let written = if self.has_files { self.limits.call_bytes } else { 0 };
        for entry in table.iter_mut() {
            count.add(&Entry::new(entry), written);
        }
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
        let sending = self.sending.as_ref().map_or(0, |sending| sending.load(Ordering::Relaxed));
        let bytes = count
            .bytes
            .saturating_add(count.bodies * BODY + self.set * SET + self.stored)
            .saturating_add((self.peak - count.entries) * PLACE)
            .saturating_add(chunks)
            .saturating_add(sending);
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

    /// Notes that a call adds more than others can.
    pub(super) fn grow(&mut self, bytes: usize) {
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

    /// Counts a request that is sent, until all of what this returns is dropped. `None` if there is no room for it: requests
    /// may take three quarters of what the host holds for a guest, so that they alone cut no guest off.
    pub(super) fn send<B: Body>(&mut self, request: &http::Request<B>) -> Option<Arc<Sending>> {
        let chunks = self.limits.body_chunk.saturating_mul(2);
        // With 0.3, the host takes them whatever they are.
        let trailers = if self.concurrent { self.limits.call_bytes } else { TRAILERS };
        let body = if request.body().is_end_stream() { 0 } else { chunks.saturating_add(trailers) };
        let bytes = body.saturating_add(CONNECTION + size(request.headers()));
        let sending = Arc::clone(self.sending.get_or_insert_default());
        let before = sending.fetch_add(bytes, Ordering::Relaxed);
        let sending = Sending { bytes, sending };
        if before.saturating_add(bytes) > self.limits.resource_bytes / 4 * 3 {
            return None;
        }
        self.grow(bytes);
        // Rather this request fails than all of its guest, if there is no room.
        if self.bound > self.ahead && !self.charge_ahead(self.bound) {
            self.charge.refused();
            return None;
        }
        Some(Arc::new(sending))
    }
}

/// What a guest is, as far as it matters to what is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestKind {
    /// It is one of wasi 0.3.
    pub(super) concurrent: bool,
    /// It has directories.
    pub(super) has_files: bool,
    /// Bytes that the operator gave it to begin with.
    pub(super) stored: usize,
}

/// A request that is under way.
pub(super) struct Sending {
    bytes: usize,
    sending: Arc<AtomicUsize>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.sending.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Gives back the room of headers that were deleted.
fn release(entry: &mut (dyn Any + Send), maps: &mut Release) {
    if let Some(fields) = entry.downcast_mut::<FieldMap>() {
        maps.release(fields);
    } else if let Some(request) = entry.downcast_mut::<HostOutgoingRequest>() {
        maps.release(&mut request.headers);
    } else if let Some(response) = entry.downcast_mut::<HostOutgoingResponse>() {
        maps.release(&mut response.headers);
    } else if let Some(request) = entry.downcast_mut::<p3::Request>() {
        maps.release(&mut request.headers);
    } else if let Some(response) = entry.downcast_mut::<p3::Response>() {
        maps.release(&mut response.headers);
    }
}

fn smaller(chunk: usize) -> usize {
    (chunk / SMALLER).max(1)
}

/// Returns the bytes that headers take.
pub(super) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

/// An entry of a table, whose type is asked for once.
struct Entry<'a> {
    entry: &'a (dyn Any + Send),
    id: TypeId,
}

impl<'a> Entry<'a> {
    fn new(entry: &'a (dyn Any + Send)) -> Self {
        Self { entry, id: entry.type_id() }
    }

    fn is<T: 'static>(&self) -> bool {
        self.id == TypeId::of::<T>()
    }

    fn get<T: 'static>(&self) -> Option<&'a T> {
        if self.is::<T>() { self.entry.downcast_ref() } else { None }
    }
}

#[derive(Default)]
struct Count {
    entries: usize,
    bytes: usize,
    /// Each one that a response or a request has, and each one that is written to: nothing tells whether two
    /// of these are the two ends of one.
    bodies: usize,
    /// Maps of fields, and which of them were seen: several may be one.
    maps: usize,
    seen: HashSet<*const HeaderMap>,
}

impl Count {
    fn add(&mut self, entry: &Entry<'_>, written: usize) {
        self.entries += 1;
        self.bytes += ENTRY;
        // The most frequent ones first.
        if entry.is::<DynPollable>() {
        } else if let Some(fields) = entry.get::<FieldMap>() {
            self.fields(fields);
        } else if entry.is::<HostOutgoingBody>() {
            self.bodies += 1;
        } else if entry.is::<DynOutputStream>() {
            // A file's has what was last written to it. A body's chunks are counted with the body.
            self.bytes = self.bytes.saturating_add(written);
        } else if entry.is::<DynInputStream>() || entry.is::<HostIncomingBody>() {
            self.bytes += CONNECTION;
        } else if entry.is::<HostFutureTrailers>() {
            // The head and the trailers of a response may be as large as what is read at a time.
            self.bytes += CONNECTION;
        } else if let Some(request) = entry.get::<HostOutgoingRequest>() {
            self.fields(&request.headers);
            self.bodies += usize::from(request.body.is_some());
            let texts = [&request.authority, &request.path_with_query];
            self.bytes += texts.into_iter().flatten().map(String::capacity).sum::<usize>();
            if let wasmtime_wasi_http::p2::bindings::http::types::Method::Other(method) =
                &request.method
            {
                self.bytes += method.capacity();
            }
        } else if let Some(response) = entry.get::<HostOutgoingResponse>() {
            self.fields(&response.headers);
            self.bodies += usize::from(response.body.is_some());
        } else if let Some(response) = entry.get::<HostIncomingResponse>() {
            self.fields(&response.headers);
            self.bytes += if response.body.is_some() { CONNECTION } else { 0 };
        } else if let Some(request) = entry.get::<HostIncomingRequest>() {
            self.bytes += if request.body.is_some() { CONNECTION } else { 0 };
        } else if let Some(response) = entry.get::<HostFutureIncomingResponse>() {
            if let HostFutureIncomingResponse::Ready(Ok((response, _))) = response {
                self.bytes += size(response.headers());
            }
        } else if let Some(request) = entry.get::<p3::Request>() {
            self.fields(&request.headers);
            self.bytes += request.method.as_str().len();
            self.bytes += request.authority.as_ref().map_or(0, |text| text.as_str().len());
            self.bytes += request.path_with_query.as_ref().map_or(0, |text| text.as_str().len());
            self.bytes += BODY;
        } else if let Some(response) = entry.get::<p3::Response>() {
            self.fields(&response.headers);
            self.bytes += BODY;
        } else if entry.is::<IoError>() {
            self.bytes += 1 << 10;
        } else if entry.is::<ReaddirIterator>() {
            // The whole directory, whose size nothing tells.
            self.bytes += DIRECTORY;
        }
    }

    fn fields(&mut self, fields: &FieldMap) {
        self.maps += 1;
        let map: &HeaderMap = fields;
        // Clones have one map together until one of them is changed. One that is empty may have had headers.
        if map.capacity() > 0 && self.seen.insert(std::ptr::from_ref(map)) {
            self.bytes += size(map) + map.capacity() * HEADER;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use millpond_engine::{HostLimits, MemoryAccount};
    use wasmtime_wasi::WasiCtx;
    use wasmtime_wasi_http::{FieldMap, WasiHttpView, default_hooks};

    use crate::StoreData;

    /// What an instance is charged for from its start, besides its resources.
    fn uncounted() -> usize {
        HostLimits::default().uncounted(false)
    }

    /// Of a guest that has begun.
    fn data(account: &MemoryAccount) -> StoreData {
        let (wasi, limits) = (WasiCtx::builder().build(), HostLimits::default());
        let mut data = StoreData::with_limits(wasi, 0, limits, Some(account.clone()));
        data.begin(false, false).expect("there is room for one");
        data
    }

    /// A call that makes the host hold 100 KiB. False if the guest has no table any more.
    fn hold(data: &mut StoreData) -> bool {
        let value = HeaderValue::from_bytes(&[b'x'; 100 << 10]).expect("a value");
        let map = HeaderMap::from_iter([(http::header::COOKIE, value)]);
        let fields = FieldMap::new_immutable(default_hooks(), map);
        data.http().table.push(fields).is_ok()
    }

    #[test]
    fn what_is_held_is_charged_before() {
        let account = MemoryAccount::new(1 << 30);
        let mut data = data(&account);
        for n in 1..=80 {
            assert!(hold(&mut data));
            assert!(account.used() - uncounted() >= n * (100 << 10), "{n}: {account:?}");
            assert!(account.used() <= 12 << 20, "{n}: {account:?}");
        }
        assert!((0..20).any(|_| !hold(&mut data)), "9 MiB is too much");
        assert_eq!(data.usage().resources, 0, "all is gone at once");
        let one = account.used();
        let other = self::data(&account);
        assert_eq!(account.used(), 2 * one, "as from its start");
        drop((data, other));
        assert_eq!((account.used(), account.refused()), (0, 0));
    }

    #[test]
    fn all_together_hold_what_they_may() {
        let account = MemoryAccount::new(32 << 20);
        let mut guests: Vec<_> = (0..10).map(|_| data(&account)).collect();
        let mut most = 0;
        for _ in 0..50 {
            for guest in &mut guests {
                hold(guest);
            }
            let held: usize = guests.iter_mut().map(|guest| guest.usage().resources).sum();
            assert!(held * (100 << 10) + 10 * uncounted() <= 32 << 20, "{held} of 100 KiB each");
            most = most.max(held);
        }
        assert!(most > 100 && account.refused() > 0, "{most}, {account:?}");
    }

    #[test]
    fn what_has_gone_is_not_held() {
        let account = MemoryAccount::new(1 << 30);
        let mut data = data(&account);
        let from_start = account.used();
        // As many headers pass as an instance has in hundreds of requests.
        for _ in 0..100 {
            for _ in 0..100 {
                data.http().hooks.is_forbidden_header(&http::header::COOKIE);
            }
            data.usage();
        }
        assert_eq!(account.used(), from_start);
    }
}

//! What the host holds for a guest in its resources.
//!
//! Nothing tells the host of what goes into a table and what becomes of it there: a map of fields grows behind
//! its entry, a body has chunks in a channel. So it is counted, by going through the table. Each call of the
//! guest adds a known amount at most, and until the calls since the last count could have made too much of it
//! there is nothing to count. A guest that holds too much is cut off: it finds its resources gone, and traps.

use std::any::Any;
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
/// Bytes that a body takes besides its chunks: its channels.
const BODY: usize = 2 << 10;
/// Bytes that wait on a connection to a server, in either direction.
const CONNECTION: usize = 64 << 10;
/// Bodies that get chunks of full size.
const LARGE_BODIES: usize = 16;
/// Headers and values that may be set before the room of those that are gone is given back. Each takes 72 bytes
/// in a map that doubles: 2 MiB.
const MOST_SET: usize = (2 << 20) / 144;
/// A body beyond those gets a chunk this much smaller.
const SMALLER: usize = 8;

/// Bytes that an instance is charged for from its start, whatever it holds. A guest that does nothing odd stays below, so
/// it is a start that waits for memory, and not a guest that runs.
const FROM_START: usize = 512 << 10;

/// The account of one guest.
pub(super) struct Held {
    limits: HostLimits,
    /// What the calls since the last count can have made of it, at most.
    bound: usize,
    /// Headers and values that were set since room was last given back.
    set: usize,
    /// How many open bodies have chunks of full size, at most.
    large_bodies: usize,
    /// Bytes of requests that are under way, wherever they are.
    sending: Option<Arc<AtomicUsize>>,
    charge: Charge,
    /// It was too much.
    cut_off: bool,
}

impl Held {
    pub(super) fn new(limits: HostLimits, charge: Charge) -> Self {
        let (bound, set, large_bodies, sending) = Default::default();
        Self { limits, bound, set, large_bodies, sending, charge, cut_off: false }
    }

    pub(super) fn limits(&self) -> &HostLimits {
        &self.limits
    }

    /// Charges what an instance is charged from its start.
    ///
    /// # Errors
    ///
    /// If all instances together hold too much for another one.
    pub(super) fn begin(&mut self) -> Result<(), MemoryExhausted> {
        if self.charge.set(FROM_START) { Ok(()) } else { Err(self.charge.exhausted()) }
    }

    /// Notes a call of the guest. Returns whether it may have its resources.
    pub(super) fn call(&mut self, table: &mut ResourceTable) -> bool {
        self.bound = self.bound.saturating_add(self.limits.call_growth());
        if self.set > MOST_SET {
            self.set = 0;
            let mut maps = Release::default();
            table.iter_mut().for_each(|entry| release(entry, &mut maps));
        }
        if self.bound > self.limits.resource_bytes {
            self.recount(table);
        }
        !self.cut_off
    }

    #[cold]
    fn recount(&mut self, table: &mut ResourceTable) {
        if self.cut_off {
            return;
        }
        let (bytes, _) = self.count(table);
        let most = self.limits.resource_bytes;
        let why = if bytes > most {
            "a guest makes the host hold too much and is cut off"
        } else if !self.charge.set(bytes.max(FROM_START)) {
            "a guest is cut off: all instances together hold as much as they may"
        } else {
            return;
        };
        self.cut_off = true;
        static LINES: LogRate = LogRate::new(20, Duration::from_secs(1));
        if let Some(others) = LINES.allow() {
            tracing::warn!(bytes, most, unlogged = unlogged(others), "{why}");
        }
    }

    /// Counts the bytes and the resources in the table.
    pub(super) fn count(&mut self, table: &mut ResourceTable) -> (usize, usize) {
        let mut count = Count::default();
        for entry in table.iter_mut() {
            count.add(entry, self.limits.call_bytes);
        }
        self.large_bodies = self.large_bodies.min(count.bodies);
        let chunk = self.limits.body_chunk;
        let small = count.bodies - self.large_bodies;
        let bodies = count.bodies * BODY
            + 2 * (self.large_bodies * chunk + small * smaller(chunk))
            + self.sending.as_ref().map_or(0, |sending| sending.load(Ordering::Relaxed));
        let bytes = count.bytes + bodies;
        self.bound = bytes;
        (bytes, count.entries)
    }

    /// Returns how much of a new body is to be taken from the guest at a time.
    pub(super) fn chunk(&mut self) -> usize {
        let chunk = self.limits.body_chunk;
        if self.large_bodies < LARGE_BODIES {
            self.large_bodies += 1;
            self.bound = self.bound.saturating_add(2 * chunk);
            return chunk;
        }
        self.bound = self.bound.saturating_add(2 * smaller(chunk));
        smaller(chunk)
    }

    /// Notes a header that is set, or one of its values.
    pub(super) fn set(&mut self) {
        self.set += 1;
    }

    /// Counts a request that is sent, until what this returns is dropped. `None` if there is no room for it: requests may
    /// take three quarters of what the host holds for a guest, so that they alone cut no guest off.
    pub(super) fn send<B: Body>(&mut self, request: &http::Request<B>) -> Option<Sending> {
        let chunks = if request.body().is_end_stream() { 0 } else { 2 * self.limits.body_chunk };
        let bytes = CONNECTION + chunks + size(request.headers());
        let sending = Arc::clone(self.sending.get_or_insert_default());
        let before = sending.fetch_add(bytes, Ordering::Relaxed);
        let sending = Sending { bytes, sending };
        (before + bytes <= self.limits.resource_bytes / 4 * 3).then_some(sending)
    }
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

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

#[derive(Default)]
struct Count {
    entries: usize,
    bytes: usize,
    /// Each one that a response or a request has, and each one that is written to: nothing tells whether two
    /// of these are the two ends of one.
    bodies: usize,
    /// Maps of fields that several have.
    seen: HashSet<*const HeaderMap>,
}

impl Count {
    fn add(&mut self, entry: &mut (dyn Any + Send), call_bytes: usize) {
        self.entries += 1;
        self.bytes += ENTRY;
        // The most frequent ones first.
        if entry.is::<DynPollable>() {
        } else if let Some(fields) = entry.downcast_ref::<FieldMap>() {
            self.fields(fields);
        } else if entry.is::<HostOutgoingBody>() {
            self.bodies += 1;
        } else if entry.is::<DynOutputStream>() {
            // A file's has what was last written to it.
            self.bytes += call_bytes;
        } else if entry.is::<DynInputStream>()
            || entry.is::<HostIncomingBody>()
            || entry.is::<HostFutureTrailers>()
        {
            self.bytes += CONNECTION;
        } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
            self.fields(&request.headers);
            self.bodies += usize::from(request.body.is_some());
            let texts = [&request.authority, &request.path_with_query];
            self.bytes += texts.into_iter().flatten().map(String::capacity).sum::<usize>();
            if let wasmtime_wasi_http::p2::bindings::http::types::Method::Other(method) =
                &request.method
            {
                self.bytes += method.capacity();
            }
        } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
            self.fields(&response.headers);
            self.bodies += usize::from(response.body.is_some());
        } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
            self.fields(&response.headers);
            self.bytes += if response.body.is_some() { CONNECTION } else { 0 };
        } else if let Some(request) = entry.downcast_ref::<HostIncomingRequest>() {
            self.bytes += if request.body.is_some() { CONNECTION } else { 0 };
        } else if let Some(response) = entry.downcast_ref::<HostFutureIncomingResponse>() {
            if let HostFutureIncomingResponse::Ready(Ok((response, _))) = response {
                self.bytes += size(response.headers());
            }
        } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
            self.fields(&request.headers);
            self.bytes += request.method.as_str().len();
            self.bytes += request.authority.as_ref().map_or(0, |text| text.as_str().len());
            self.bytes += request.path_with_query.as_ref().map_or(0, |text| text.as_str().len());
            self.bytes += BODY;
        } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
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
        let map: &HeaderMap = fields;
        // Clones have one map together until one of them is changed. One that is empty may have had headers.
        if map.capacity() > 0 && self.seen.insert(std::ptr::from_ref(map)) {
            self.bytes += size(map) + map.capacity() * HEADER;
        }
    }
}

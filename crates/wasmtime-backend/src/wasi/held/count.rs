//! What is in a table: how many entries, and how many bytes the host holds for them.

use std::any::{Any, TypeId};
use std::collections::HashSet;

use http::HeaderMap;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError, ReaddirIterator};
use wasmtime_wasi_http::p2::bindings::http::types::Method;
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest,
    HostOutgoingResponse,
};
use wasmtime_wasi_http::{FieldMap, p3};

use crate::wasi::fields::Release;
use crate::wasi::files::DIRECTORY;

/// Bytes that any entry of a table takes: itself, its box, its place among its parent's children.
const ENTRY: usize = 320;
/// Bytes that a header takes besides its name and its value, and the place of one that is not there.
const HEADER: usize = 112;
/// Bytes that the trailers of a body may have where the host keeps them until the body was sent.
pub(in crate::wasi) const TRAILERS: usize = 16 << 10;
/// Bytes that a body takes besides its chunks: its channels, and its trailers.
const BODY: usize = (2 << 10) + TRAILERS;
/// Bytes that wait on a connection to a server, in either direction.
pub(super) const CONNECTION: usize = 64 << 10;

/// The sum of a table.
#[derive(Default)]
pub(super) struct Count {
    pub(super) entries: usize,
    /// Without the chunks of bodies.
    pub(super) bytes: usize,
    /// Each one that a response or a request has, and each one that is written to: nothing tells whether two
    /// of these are the two ends of one.
    pub(super) bodies: usize,
    /// Maps of fields, and which of them were seen: several may be one.
    pub(super) maps: usize,
    seen: HashSet<*const HeaderMap>,
}

impl Count {
    /// Goes through a table, in which each stream may hold so many bytes that were written to a file.
    pub(super) fn of(table: &mut ResourceTable, written: usize) -> Self {
        let mut count = Self::default();
        for entry in table.iter_mut() {
            count.add(&Entry::new(entry), written);
        }
        count
    }

    fn add(&mut self, entry: &Entry<'_>, written: usize) {
        self.entries += 1;
        self.bytes += ENTRY;
        // The most frequent ones first.
        if entry.is::<DynPollable>() {
        } else if let Some(fields) = entry.get::<FieldMap>() {
            self.fields(fields);
        } else if entry.is::<HostOutgoingBody>() {
            self.body();
        } else if entry.is::<DynOutputStream>() {
            // A file's has what was last written to it. A body's chunks are counted with the body.
            self.bytes = self.bytes.saturating_add(written);
        } else if entry.is::<DynInputStream>()
            || entry.is::<HostIncomingBody>()
            || entry.is::<HostFutureTrailers>()
        {
            self.bytes += CONNECTION;
        } else if let Some(request) = entry.get::<HostOutgoingRequest>() {
            self.fields(&request.headers);
            request.body.iter().for_each(|_| self.body());
            let texts = [&request.authority, &request.path_with_query];
            self.bytes += texts.into_iter().flatten().map(String::capacity).sum::<usize>();
            if let Method::Other(method) = &request.method {
                self.bytes += method.capacity();
            }
        } else if let Some(response) = entry.get::<HostOutgoingResponse>() {
            self.fields(&response.headers);
            response.body.iter().for_each(|_| self.body());
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

    fn body(&mut self) {
        self.bodies += 1;
        self.bytes += BODY;
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

/// Returns the bytes that headers take.
pub(in crate::wasi) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

/// Gives back the room of headers that were deleted from the maps in a table.
pub(super) fn release(table: &mut ResourceTable) {
    let mut maps = Release::default();
    table.iter_mut().for_each(|entry| release_entry(entry, &mut maps));
}

fn release_entry(entry: &mut (dyn Any + Send), maps: &mut Release) {
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

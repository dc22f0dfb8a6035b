//! What is under way on one connection and on all of them: streams, and response bytes on their way to the socket.
//!
//! A response is handed to hyper in pieces, and each is counted until its bytes are with the kernel (or given up). Where
//! too much is under way, no more is asked of the guest, so it keeps its seat:
//!
//! | | bytes under way at most |
//! | --- | --- |
//! | a response over HTTP/2 | [`STREAM`] |
//! | a connection | [`CONNECTION`], and one piece for each further response |
//! | the process | [`PROCESS`], and one piece for each further connection |
//!
//! So each connection always has its turn, whatever the others do. With 128 streams, pieces of 16 KiB over HTTP/2 and
//! of 64 KiB over HTTP/1.1, that is 3 MiB for a connection, and for the process 128 MiB and as many times 64 KiB as there
//! are connections, at the very most. Each piece counts as [`OVERHEAD`] bytes more than it has, for what hyper and h2
//! keep of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

/// Bytes of one HTTP/2 response.
pub(crate) const STREAM: usize = 64 * 1024;

/// Bytes of all responses on a connection, as long as each has one piece.
pub(crate) const CONNECTION: usize = 1024 * 1024;

/// Bytes of all responses of the process, as long as each connection has one piece.
pub(crate) const PROCESS: usize = 128 * 1024 * 1024;

/// A piece is not longer.
pub(crate) const PIECE_HTTP1: usize = 64 * 1024;
pub(crate) const PIECE_HTTP2: usize = 16 * 1024;

/// What is kept for a piece besides its bytes.
const OVERHEAD: usize = 256;

/// Why a connection or a request came to its end here, and not by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection: what was written did not move.
    WriteStalled,
    /// The connection: what was written moved too slowly.
    SlowWrites,
    /// The connection: HTTP/2 without streams.
    Idle,
    /// The connection: frames that do no work.
    Flood,
    /// The request: its body came too slowly.
    SlowRequest,
    /// The request: its body took too long.
    LongRequest,
    /// The request: its response was taken too slowly, or not at all.
    SlowResponse,
}

/// All connections of a listener.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes of responses that are under way.
    queued: AtomicUsize,
    open: AtomicUsize,
    cuts: [AtomicU64; 7],
}

/// What `/metrics` says of a listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    /// Open now.
    pub(crate) open: usize,
    /// Bytes of responses that are on their way to sockets.
    pub(crate) queued: usize,
    cuts: [u64; 7],
}

impl Connections {
    /// How many were cut for this reason.
    pub(crate) fn cut(&self, cut: Cut) -> u64 {
        self.cuts[cut as usize]
    }
}

impl Traffic {
    /// Counts a cut.
    pub(crate) fn cut(&self, cut: Cut) {
        self.cuts[cut as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn measure(&self) -> Connections {
        Connections {
            open: self.open.load(Ordering::Relaxed),
            queued: self.queued.load(Ordering::Relaxed),
            cuts: std::array::from_fn(|index| self.cuts[index].load(Ordering::Relaxed)),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    traffic: Arc<Traffic>,
    /// Bytes of responses that are under way.
    queued: AtomicUsize,
    /// Bytes of responses that were, so far; over HTTP/2.
    moved: AtomicU64,
    /// Nothing was under way for a moment, since this was asked last.
    emptied: AtomicBool,
    /// Work that was done for the peer: over HTTP/2 in frames that it may answer with frames of its own, over HTTP/1.1 in
    /// requests and pieces of their bodies.
    useful: AtomicU64,
    /// Whether the peer speaks HTTP/2.
    http2: AtomicBool,
    /// Streams that are open, and that were opened so far; over HTTP/2.
    streams: AtomicUsize,
    opened: AtomicU64,
    /// Whether there are wakers.
    waiting: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    /// The stream that hyper is about to spawn.
    next: Mutex<Option<Arc<Stream>>>,
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) streams: usize,
    pub(crate) opened: u64,
    pub(crate) queued: usize,
    pub(crate) moved: u64,
    /// Nothing was under way at some time since this was asked last.
    pub(crate) was_empty: bool,
}

impl Connection {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self {
            traffic,
            queued: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            emptied: AtomicBool::new(false),
            useful: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            wakers: Mutex::default(),
            next: Mutex::default(),
        })
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(crate) fn useful(&self) -> u64 {
        self.useful.load(Ordering::Relaxed)
    }

    /// A request, or a piece of its body, has come over HTTP/1.1.
    pub(crate) fn received(&self) {
        if !self.is_http2() {
            self.useful.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The preface of HTTP/2 has come.
    pub(crate) fn became_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Looks at it. One looks: what was empty is told once.
    pub(crate) fn view(&self) -> View {
        let queued = self.queued.load(Ordering::Relaxed);
        View {
            was_empty: self.emptied.swap(false, Ordering::Relaxed) || queued == 0,
            queued,
            streams: self.streams.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
        }
    }

    /// A request came over HTTP/2; its stream is there to be taken.
    pub(crate) fn open_stream(self: &Arc<Self>) -> Arc<Stream> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(Stream {
            connection: Arc::clone(self),
            queued: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            emptied: AtomicBool::new(false),
        });
        *lock(&self.next) = Some(Arc::clone(&stream));
        stream
    }

    /// Takes the stream that was opened last.
    pub(crate) fn take_stream(&self) -> Option<Arc<Stream>> {
        lock(&self.next).take()
    }

    fn release(&self, bytes: usize) {
        self.traffic.queued.fetch_sub(bytes, Ordering::Relaxed);
        if self.queued.fetch_sub(bytes, Ordering::SeqCst) == bytes {
            self.emptied.store(true, Ordering::Relaxed);
        }
        if self.waiting.load(Ordering::SeqCst) {
            let wakers = {
                let mut wakers = lock(&self.wakers);
                self.waiting.store(false, Ordering::SeqCst);
                std::mem::take(&mut *wakers)
            };
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

/// A connection that is open until this is dropped. What refers to a [`Connection`] may outlive its socket.
#[derive(Debug)]
pub(crate) struct Open(Arc<Traffic>);

impl Open {
    pub(crate) fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request and its response over HTTP/2.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Arc<Connection>,
    queued: AtomicUsize,
    moved: AtomicU64,
    /// Nothing was under way for a moment, since this was asked last.
    emptied: AtomicBool,
}

impl Stream {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Bytes that are under way.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Bytes that are not under way any more.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether nothing was under way at some time since this was asked last.
    pub(crate) fn was_empty(&self) -> bool {
        self.emptied.swap(false, Ordering::Relaxed) || self.queued() == 0
    }

    /// It is served no more.
    pub(crate) fn close(&self) {
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the pieces of a response are counted.
#[derive(Debug, Clone)]
pub(crate) enum Meter {
    Http1(Arc<Connection>),
    Http2(Arc<Stream>),
}

impl Meter {
    fn connection(&self) -> &Connection {
        match self {
            Self::Http1(connection) => connection,
            Self::Http2(stream) => &stream.connection,
        }
    }

    /// The most bytes of a piece.
    pub(crate) fn piece_len(&self) -> usize {
        match self {
            Self::Http1(_) => PIECE_HTTP1,
            Self::Http2(_) => PIECE_HTTP2,
        }
    }

    /// Whether there is room for another piece.
    fn has_room(&self) -> bool {
        let connection = self.connection();
        let queued = connection.queued.load(Ordering::SeqCst);
        if queued == 0 {
            return true;
        }
        if connection.traffic.queued.load(Ordering::Relaxed) >= PROCESS {
            return false;
        }
        match self {
            Self::Http1(_) => queued < CONNECTION,
            Self::Http2(stream) => match stream.queued.load(Ordering::Relaxed) {
                0 => true,
                own => own + PIECE_HTTP2 <= STREAM && queued < CONNECTION,
            },
        }
    }

    /// Waits until there is room for another piece.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        let connection = self.connection();
        {
            let mut wakers = lock(&connection.wakers);
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            connection.waiting.store(true, Ordering::SeqCst);
        }
        // Bytes that went in between woke no one: look again.
        if self.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Puts bytes under way.
    pub(crate) fn piece(&self, bytes: Bytes) -> Piece {
        let cost = bytes.len() + OVERHEAD;
        let connection = self.connection();
        connection.traffic.queued.fetch_add(cost, Ordering::Relaxed);
        connection.queued.fetch_add(cost, Ordering::SeqCst);
        if let Self::Http2(stream) = self {
            stream.queued.fetch_add(cost, Ordering::Relaxed);
            // A reader says now and then how much it has taken: twice, and for a KiB or more.
            let frames = 4 + bytes.len() as u64 / 512;
            connection.useful.fetch_add(frames, Ordering::Relaxed);
        }
        Piece { bytes, cost, meter: Some(self.clone()) }
    }
}

/// Bytes of a response, counted until they are dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    cost: usize,
    meter: Option<Meter>,
}

impl Piece {
    fn moved(&self, bytes: usize) {
        if let Some(Meter::Http2(stream)) = &self.meter {
            stream.moved.fetch_add(bytes as u64, Ordering::Relaxed);
            stream.connection.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.moved(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.moved(self.bytes.len());
        let Some(meter) = self.meter.take() else { return };
        if let Meter::Http2(stream) = &meter
            && stream.queued.fetch_sub(self.cost, Ordering::Relaxed) == self.cost
        {
            stream.emptied.store(true, Ordering::Relaxed);
        }
        // The bytes first: what counts as gone is gone.
        self.bytes = Bytes::new();
        meter.connection().release(self.cost);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    static BYTES: [u8; PIECE_HTTP1] = [0; PIECE_HTTP1];

    /// Puts as many bytes under way as there is room for; fewer than a connection's if none of them ever leaves.
    fn fill(meter: &Meter) -> Vec<Piece> {
        let piece = || meter.has_room().then(|| meter.piece(Bytes::from_static(&BYTES)));
        std::iter::from_fn(piece).take(100).collect()
    }

    #[test]
    fn the_process_has_its_share() {
        let traffic = Arc::new(Traffic::default());
        let connection = || Meter::Http1(Connection::new(Arc::clone(&traffic)));
        let meters: Vec<_> = (0..300).map(|_| connection()).collect();
        let mut under_way: Vec<_> = meters.iter().map(fill).collect();
        let cost = PIECE_HTTP1 + OVERHEAD;
        let queued = traffic.measure().queued;
        assert!((PROCESS..PROCESS + 300 * cost).contains(&queued), "{queued}");
        assert!(under_way.iter().all(|pieces| !pieces.is_empty()), "each has its turn");
        assert_eq!(under_way[299].len(), 1, "and no more than that");

        // The first ones leave: there is room for the last one.
        under_way.drain(..100);
        under_way.last_mut().expect("200 are left").append(&mut fill(&meters[299]));
        assert!(under_way[199].len() > 10, "{}", under_way[199].len());
        under_way.clear();
        assert_eq!(traffic.measure().queued, 0);
    }
}

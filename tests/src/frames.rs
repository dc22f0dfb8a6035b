//! An HTTP/2 connection whose frames are written by hand, one by one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::PATIENCE;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// As on the wire.
    pub flags: u8,
    /// As on the wire.
    pub stream: u32,
    /// As on the wire.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// SETTINGS.
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let pair =
            |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        Self::new(kind::SETTINGS, 0, 0, settings.iter().flat_map(pair).collect::<Vec<u8>>())
    }

    /// WINDOW_UPDATE.
    pub fn window(stream: u32, bytes: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    /// RST_STREAM.
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// A request without a body.
    pub fn get(stream: u32, path: &str) -> Self {
        Self::new(kind::HEADERS, END_HEADERS | END_STREAM, stream, head("GET", path))
    }

    /// The head of a request with a body to come.
    pub fn post(stream: u32, path: &str) -> Self {
        Self::new(kind::HEADERS, END_HEADERS, stream, head("POST", path))
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.payload.len()).expect("a frame is short").to_be_bytes();
        let head = [&len[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    /// The error code of RST_STREAM and GOAWAY.
    pub fn code(&self) -> Option<u32> {
        let code = match self.kind {
            kind::RST_STREAM => self.payload.get(..4)?,
            kind::GOAWAY => self.payload.get(4..8)?,
            _ => return None,
        };
        Some(u32::from_be_bytes(code.try_into().expect("four bytes")))
    }
}

/// A field that is in no table.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The fields of a request's head.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The connection.
pub struct Frames {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

impl Frames {
    /// Connects, and sends the preface and these settings.
    pub async fn connect(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::bare(addr).await;
        frames.write(PREFACE).await;
        frames.send(&Frame::settings(settings)).await;
        frames
    }

    /// Connects, and sends nothing.
    pub async fn bare(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a server listens");
        stream.set_nodelay(true).expect("a socket");
        let (read, write) = stream.into_split();
        Self { read, write }
    }

    /// Sends a frame. That the connection has been closed is no error.
    pub async fn send(&mut self, frame: &Frame) -> bool {
        self.write(&frame.bytes()).await
    }

    /// Sends bytes, likewise; returns whether they could be sent.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(PATIENCE, self.write.write_all(bytes)).await;
        written.expect("what is sent is taken").is_ok()
    }

    /// The next frame; `None` once the connection is closed.
    pub async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, next(&mut self.read)).await.expect("a frame in good time")
    }

    /// The next frame, if there is one within this time.
    pub async fn next_within(&mut self, time: Duration) -> Option<Option<Frame>> {
        timeout(time, next(&mut self.read)).await.ok()
    }

    /// The next frame of this kind; `None` once the connection is closed.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads and forgets all that comes from now on; resolves when the connection is closed.
    pub fn drain(self) -> (OwnedWriteHalf, tokio::task::JoinHandle<u64>) {
        let Self { mut read, write } = self;
        let drained = tokio::spawn(async move {
            let (mut bytes, mut buf) = (0, vec![0; 64 * 1024]);
            while let Ok(n @ 1..) = read.read(&mut buf).await {
                bytes += n as u64;
            }
            bytes
        });
        (write, drained)
    }

    /// Sends what `batch` makes, again and again, and reads what comes; returns how often until the connection was closed,
    /// if it was within `times`.
    pub async fn flood(
        self,
        times: usize,
        mut batch: impl FnMut(usize) -> Vec<Frame>,
    ) -> Option<usize> {
        let (mut write, closed) = self.drain();
        for n in 0..times {
            let bytes: Vec<u8> = batch(n).iter().flat_map(Frame::bytes).collect();
            let sent = timeout(PATIENCE, write.write_all(&bytes)).await;
            if sent.expect("what is sent is taken").is_err() || closed.is_finished() {
                return Some(n);
            }
        }
        // Some of it may still be under way.
        timeout(Duration::from_secs(5), closed).await.ok().map(|_| times)
    }
}

async fn next(read: &mut OwnedReadHalf) -> Option<Frame> {
    let mut head = [0; 9];
    read.read_exact(&mut head).await.ok()?;
    let [len0, len1, len2, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, len0, len1, len2]) as usize];
    read.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

/// Requests of innocents, one after another, each on a connection of its own; all answers have to be right.
pub struct Innocents {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<usize>,
}

impl Innocents {
    /// Begins.
    pub fn start(addr: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut answered = 0;
            // At least one: the attack may have been short, and it has to be fine after it.
            loop {
                let (status, text) = crate::get(addr, "/hello").await;
                assert_eq!((status, &*text), (200, "hello\n"), "an innocent");
                answered += 1;
                if asked.load(Ordering::Relaxed) {
                    return answered;
                }
            }
        });
        Self { stop, task }
    }

    /// Ends; returns how many were answered.
    pub async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the innocents were answered")
    }
}

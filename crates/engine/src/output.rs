//! What guests print.
//!
//! A guest's output goes through a bounded channel to a thread that writes it, so that a blocked
//! reader of stdout blocks that thread and no request: when the channel is full, lines are lost,
//! and the next one that is not says how many. Lines carry the number of their instance and, when
//! it serves one request at a time, of the request.

use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use millpond_pool_core::{InstanceId, Ticket};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::sync::lock;

/// Pieces of output that may wait to be written.
const WAITING: usize = 1024;
/// How long the end waits for a reader who has stopped reading.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A line longer than this is cut into several.
const LINE: usize = 8 * 1024;

/// What becomes of what guests print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// It is lost.
    None,
    /// It goes to the host's stdout and stderr as it is.
    Plain,
    /// It goes to the host's stdout and stderr line by line: `stdout [3/17] :: text` is from
    /// instance 3 in request 17, `stdout [3] :: text` from instance 3, which has served several
    /// requests at a time.
    #[default]
    Prefixed,
}

/// Who prints: the instance and, while it is known, the request.
#[derive(Debug)]
pub struct Tag {
    id: InstanceId,
    /// 0: not known.
    request: AtomicU64,
}

impl Tag {
    /// The instance; no request is known.
    pub fn new(id: InstanceId) -> Self {
        Self { id, request: AtomicU64::new(0) }
    }

    /// What it prints from here on is for this request.
    pub fn set_request(&self, request: Option<Ticket>) {
        self.request.store(request.map_or(0, Ticket::number), Ordering::Relaxed);
    }

    fn prefix(&self, stream: &str) -> String {
        match self.request.load(Ordering::Relaxed) {
            0 => format!("{stream} [{}] :: ", self.id),
            request => format!("{stream} [{}/{request}] :: ", self.id),
        }
    }
}

/// The host's stdout and stderr, for guests.
#[derive(Debug)]
pub struct Console {
    stdout: Arc<Channel>,
    stderr: Arc<Channel>,
}

impl Console {
    /// With a thread that writes, for each.
    pub fn new() -> Self {
        Self {
            stdout: Channel::new("stdout", std::io::stdout),
            stderr: Channel::new("stderr", std::io::stderr),
        }
    }

    /// The stdout and the stderr of an instance; `None`: what it prints is lost.
    pub fn streams(&self, output: Output, tag: &Arc<Tag>) -> Option<[GuestOutput; 2]> {
        let stream = |channel: &Arc<Channel>, name| match output {
            Output::None => None,
            Output::Plain => Some(GuestOutput::new(channel, None)),
            Output::Prefixed => Some(GuestOutput::new(channel, Some((name, Arc::clone(tag))))),
        };
        Some([stream(&self.stdout, "stdout")?, stream(&self.stderr, "stderr")?])
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

/// The way to one of the host's streams.
#[derive(Debug)]
struct Channel {
    /// `Some` until the drop.
    sender: Option<SyncSender<Vec<u8>>>,
    lost: AtomicU64,
    /// Ends when the writer has.
    written: Mutex<Receiver<()>>,
}

impl Channel {
    fn new<W: Write>(name: &str, open: impl FnOnce() -> W + Send + 'static) -> Arc<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let (end, written) = sync_channel(0);
        let writer = std::thread::Builder::new().name(format!("millpond-{name}"));
        let spawned = writer.spawn(move || {
            write(&receiver, open());
            drop(end);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "what guests print is lost");
        }
        let written = Mutex::new(written);
        Arc::new(Self { sender: Some(sender), lost: AtomicU64::new(0), written })
    }

    fn send(&self, piece: Vec<u8>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let piece = if lost > 0 {
            let mut note = format!("[{lost} pieces of output lost: the reader is too slow]\n");
            note.push_str(&String::from_utf8_lossy(&piece));
            note.into_bytes()
        } else {
            piece
        };
        let sent = self.sender.as_ref().is_some_and(|sender| sender.try_send(piece).is_ok());
        if !sent {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Channel {
    /// The process may end after this: what was printed is written first, if anybody reads it.
    fn drop(&mut self) {
        self.sender = None;
        let _ = lock(&self.written).recv_timeout(LAST_WORDS);
    }
}

fn write(receiver: &Receiver<Vec<u8>>, mut to: impl Write) {
    while let Ok(piece) = receiver.recv() {
        // A closed stream is no reason to stop: guests go on printing.
        let _ = to.write_all(&piece);
        while let Ok(piece) = receiver.try_recv() {
            let _ = to.write_all(&piece);
        }
        let _ = to.flush();
    }
}

/// One stream of one instance.
#[derive(Clone)]
pub struct GuestOutput {
    lines: Arc<Mutex<Lines>>,
}

impl GuestOutput {
    fn new(channel: &Arc<Channel>, prefix: Option<(&'static str, Arc<Tag>)>) -> Self {
        let lines = Lines { channel: Arc::clone(channel), prefix, begun: Vec::new() };
        Self { lines: Arc::new(Mutex::new(lines)) }
    }
}

struct Lines {
    channel: Arc<Channel>,
    prefix: Option<(&'static str, Arc<Tag>)>,
    /// A line that is not yet complete, with its prefix: the request that began it.
    begun: Vec<u8>,
}

impl Lines {
    fn print(&mut self, mut bytes: &[u8]) {
        let Some((stream, tag)) = &self.prefix else {
            if !bytes.is_empty() {
                self.channel.send(bytes.to_vec());
            }
            return;
        };
        while !bytes.is_empty() {
            if self.begun.is_empty() {
                self.begun = tag.prefix(stream).into_bytes();
            }
            let room = LINE.saturating_sub(self.begun.len()).max(1);
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let take = end.map_or(room.min(bytes.len()), |end| end + 1);
            self.begun.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if end.is_none() && self.begun.len() >= LINE {
                self.begun.push(b'\n');
            }
            if self.begun.last() == Some(&b'\n') {
                self.channel.send(std::mem::take(&mut self.begun));
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.begun.push(b'\n');
            self.channel.send(std::mem::take(&mut self.begun));
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        lock(&self.lines).print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        lock(&self.lines).print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

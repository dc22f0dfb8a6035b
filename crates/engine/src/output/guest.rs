//! What a guest has for its stdout and stderr.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::Tag;
use super::escape::escape_bytes;
use super::stream::HostStream;
use crate::sync::lock;

/// A line longer than this is cut into several.
const LINE: usize = 8 * 1024;
/// Bytes that are taken at a time.
const WRITE: usize = 64 * 1024;

/// One stream of one instance.
#[derive(Clone)]
pub struct GuestOutput {
    lines: Arc<Mutex<Lines>>,
}

impl GuestOutput {
    pub(super) fn new(
        stream: &'static HostStream,
        tag: Arc<Tag>,
        prefix: Option<&'static str>,
    ) -> Self {
        let lines = Lines { stream, tag, prefix, line: None };
        Self { lines: Arc::new(Mutex::new(lines)) }
    }
}

struct Lines {
    stream: &'static HostStream,
    tag: Arc<Tag>,
    /// What its lines begin with. `None`: it is passed on as it is.
    prefix: Option<&'static str>,
    /// A line that is not yet complete.
    line: Option<Line>,
}

struct Line {
    /// Of the request that began it.
    prefix: String,
    text: Vec<u8>,
}

impl Lines {
    fn print(&mut self, mut bytes: &[u8]) {
        let Some(stream) = self.prefix else {
            return self.send(bytes.to_vec());
        };
        while !bytes.is_empty() {
            let line = self
                .line
                .get_or_insert_with(|| Line { prefix: self.tag.prefix(stream), text: Vec::new() });
            let room = LINE - line.text.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(room.min(bytes.len()));
            line.text.extend_from_slice(&bytes[..taken]);
            if end.is_some() || line.text.len() >= LINE {
                self.end_line();
            }
            bytes = &bytes[taken + usize::from(end.is_some())..];
        }
    }

    fn end_line(&mut self) {
        let Some(Line { prefix, text }) = self.line.take() else { return };
        let mut line = prefix.into_bytes();
        // As a terminal is told to begin a line.
        escape_bytes(text.strip_suffix(b"\r").unwrap_or(&text), &mut line);
        line.push(b'\n');
        self.send(line);
    }

    fn send(&self, piece: Vec<u8>) {
        if !piece.is_empty() && self.tag.may_print(&piece) {
            self.stream.put_of_guest(piece);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
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
        Ok(WRITE)
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
        let taken = bytes.len().min(WRITE);
        lock(&self.lines).print(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

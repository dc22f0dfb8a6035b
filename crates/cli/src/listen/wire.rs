//! A socket that gives up on a peer which does not get to the point, which does not read, or which sends frames that do no
//! work.
//!
//! - Before HTTP/1.1 or HTTP/2 takes over with its own timeouts, the first bytes must tell which of the two it is. A peer
//!   that sends nothing, or half of the HTTP/2 preface, would be waited for without end; here reading fails once the time
//!   is over.
//! - After the preface, each HTTP/2 frame has to fit into its [`FrameBudget`]; else reading fails.
//! - Over HTTP/1.1, what is read has to become a request, or a piece of a body; else reading fails. hyper lets the size of
//!   a chunk have any number of zeros before it.
//! - What is written has to move, at the least rate; else writing fails. Only time in which the kernel takes no more
//!   counts.

mod frames;
mod writes;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::pace::Rule;
use super::traffic::{Connection, Cut};
use frames::FrameBudget;
use writes::Writes;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are copied into one piece: that takes the kernel less time than several pieces.
const SMALL: usize = 1024;

/// Bytes that are read before others on the thread get their turn.
const IN_A_ROW: usize = 256 * 1024;

/// Bytes over HTTP/1.1 that make no request and no piece of a body: the longest head, what chunks may have besides their
/// data in hyper, and what hyper reads ahead.
const FRUITLESS: usize = 512 * 1024;

/// Wraps the socket `T`.
#[derive(Debug)]
pub(crate) struct Wire<T> {
    inner: T,
    reads: Reads,
    /// Bytes read since the peer, or the thread, was last waited for.
    in_a_row: usize,
    writes: Writes,
    connection: Arc<Connection>,
}

#[derive(Debug)]
enum Reads {
    /// The protocol is not known yet.
    Opening(Waiting),
    Http1(Fruit),
    Http2(Box<FrameBudget>),
}

/// What comes of the bytes over HTTP/1.1.
#[derive(Debug, Default)]
struct Fruit {
    /// Bytes since something came of them.
    fruitless: usize,
    /// What had come of them by then.
    useful: u64,
}

#[derive(Debug)]
struct Waiting {
    deadline: Pin<Box<Sleep>>,
    /// What of the preface has not come yet.
    rest: &'static [u8],
}

/// What the bytes so far tell.
enum Seen<'a> {
    /// Nothing: this much of the preface is missing.
    Part(&'static [u8]),
    Http1,
    /// The preface, and these bytes after it.
    Http2(&'a [u8]),
}

impl<T> Wire<T> {
    /// The peer has `patience` from now to show its protocol, and has to take what is written as `writes` says.
    pub(crate) fn new(
        inner: T,
        patience: Duration,
        writes: Rule,
        connection: Arc<Connection>,
    ) -> Self {
        Self {
            inner,
            reads: Reads::Opening(Waiting {
                deadline: Box::pin(tokio::time::sleep(patience)),
                rest: HTTP2_PREFACE,
            }),
            in_a_row: 0,
            writes: Writes::new(writes),
            connection,
        }
    }
}

impl Seen<'_> {
    fn of<'a>(rest: &'static [u8], bytes: &'a [u8]) -> Seen<'a> {
        if let Some(after) = bytes.strip_prefix(rest) {
            return Seen::Http2(after);
        }
        // No bytes are the end of the stream, and that says enough.
        match rest.strip_prefix(bytes) {
            Some(rest) if !bytes.is_empty() => Seen::Part(rest),
            _ => Seen::Http1,
        }
    }
}

impl Reads {
    /// Looks at bytes that have come.
    fn receive(&mut self, bytes: &[u8], connection: &Connection) -> io::Result<()> {
        let flood = |what| {
            connection.traffic().cut(Cut::Flood);
            io::Error::other(what)
        };
        let (budget, bytes) = match self {
            Self::Http1(fruit) => {
                let fits = fruit.receive(bytes.len(), connection.useful());
                return if fits { Ok(()) } else { Err(flood("too many bytes that make nothing")) };
            }
            Self::Http2(budget) => (budget, bytes),
            Self::Opening(waiting) => match Seen::of(waiting.rest, bytes) {
                Seen::Part(rest) => {
                    waiting.rest = rest;
                    return Ok(());
                }
                Seen::Http1 => {
                    *self = Self::Http1(Fruit::default());
                    return self.receive(bytes, connection);
                }
                Seen::Http2(after) => {
                    connection.became_http2();
                    *self = Self::Http2(Box::new(FrameBudget::new(Instant::now())));
                    return self.receive(after, connection);
                }
            },
        };
        budget
            .receive(bytes, Instant::now, || connection.useful())
            .map_err(|_| flood("too many frames that do no work"))
    }
}

impl Fruit {
    /// Bytes have come; returns whether they may be as many.
    fn receive(&mut self, bytes: usize, useful: u64) -> bool {
        if self.useful != useful {
            *self = Self { fruitless: 0, useful };
        }
        self.fruitless += bytes;
        self.fruitless <= FRUITLESS
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.in_a_row >= IN_A_ROW {
            // Others on this thread first: a peer may send what is read and read again and leads to nothing.
            this.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Pending => {
                this.in_a_row = 0;
                if let Reads::Opening(waiting) = &mut this.reads
                    && waiting.deadline.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                this.in_a_row += buf.filled().len() - before;
                Poll::Ready(this.reads.receive(&buf.filled()[before..], &this.connection))
            }
            failed => failed,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.writes.see(cx, written, &this.connection)
    }

    // A socket does both at once.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        let mut small = [0; SMALL];
        let Some(all) = small.get_mut(..total) else {
            let this = self.get_mut();
            let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
            return this.writes.see(cx, written, &this.connection);
        };
        let mut rest = &mut *all;
        for buf in bufs {
            let (next, later) = rest.split_at_mut(buf.len());
            next.copy_from_slice(buf);
            rest = later;
        }
        self.poll_write(cx, all)
    }
}

#[cfg(test)]
mod tests;

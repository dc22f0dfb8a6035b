//! A socket that gives up on a peer which does not get to the point.
//!
//! Before HTTP/1.1 or HTTP/2 takes over with its own timeouts, the first bytes must tell which of the two it is. A peer
//! that sends nothing, or half of the HTTP/2 preface, would be waited for without end; here reading fails once the time
//! is over. As soon as the bytes have told, this type only passes through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are copied into one piece: that takes the kernel less time than several pieces.
const SMALL: usize = 1024;

/// Wraps the socket `T`.
#[derive(Debug)]
pub(crate) struct Opening<T> {
    inner: T,
    /// `None` once the protocol is known.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    deadline: Pin<Box<Sleep>>,
    /// What of the preface has not come yet.
    rest: &'static [u8],
}

impl<T> Opening<T> {
    /// The peer has `patience` from now to show its protocol.
    pub(crate) fn new(inner: T, patience: Duration) -> Self {
        Self {
            inner,
            waiting: Some(Waiting {
                deadline: Box::pin(tokio::time::sleep(patience)),
                rest: HTTP2_PREFACE,
            }),
        }
    }
}

impl Waiting {
    /// The rest after `bytes`; `None` if the protocol is known: the preface is whole, or this is not one.
    fn after(rest: &'static [u8], bytes: &[u8]) -> Option<&'static [u8]> {
        // No bytes are the end of the stream, and that says enough.
        if bytes.is_empty() {
            return None;
        }
        rest.strip_prefix(bytes).filter(|rest| !rest.is_empty())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        if let Some(waiting) = &mut this.waiting {
            match &read {
                Poll::Pending => {
                    if waiting.deadline.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
                Poll::Ready(Ok(())) => {
                    match Waiting::after(waiting.rest, &buf.filled()[before..]) {
                        Some(rest) => waiting.rest = rest,
                        None => this.waiting = None,
                    }
                }
                Poll::Ready(Err(_)) => {}
            }
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

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
        let inner = Pin::new(&mut self.get_mut().inner);
        let total = bufs.iter().map(|buf| buf.len()).sum();
        let mut small = [0; SMALL];
        let Some(all) = small.get_mut(..total) else { return inner.poll_write_vectored(cx, bufs) };
        let mut rest = &mut *all;
        for buf in bufs {
            let (next, later) = rest.split_at_mut(buf.len());
            next.copy_from_slice(buf);
            rest = later;
        }
        inner.poll_write(cx, all)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    /// What reading meets after the peer has sent `bytes` and nothing more for a minute.
    async fn silence_after(bytes: &[u8]) -> Result<usize, io::ErrorKind> {
        let (mut peer, socket) = tokio::io::duplex(1024);
        let mut socket = Opening::new(socket, PATIENCE);
        for byte in bytes {
            peer.write_all(&[*byte]).await.unwrap();
            socket.read_u8().await.unwrap();
        }
        match tokio::time::timeout(Duration::from_secs(60), socket.read_u8()).await {
            Ok(Ok(byte)) => panic!("read {byte}"),
            Ok(Err(error)) => Err(error.kind()),
            Err(_) => Ok(bytes.len()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ends_the_wait_while_the_protocol_is_open() {
        let start = Instant::now();
        assert_eq!(silence_after(b"").await, Err(io::ErrorKind::TimedOut));
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
        assert_eq!(silence_after(b"P").await, Err(io::ErrorKind::TimedOut));
        assert_eq!(silence_after(&HTTP2_PREFACE[..23]).await, Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn steps_aside_once_it_is_known() {
        assert_eq!(silence_after(b"G").await, Ok(1));
        assert_eq!(silence_after(b"PRO").await, Ok(3));
        assert_eq!(silence_after(HTTP2_PREFACE).await, Ok(24));
    }
}

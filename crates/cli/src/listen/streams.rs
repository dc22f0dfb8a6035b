//! The streams of an HTTP/2 connection: each is a task, which ends its response if the peer does not take it.
//!
//! hyper asks a body for nothing while the stream has no window, so the body cannot end itself. But the task that sends
//! it can be dropped: the stream is reset, the guest is stopped, and what was under way is given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::pace::{Pace, Rule};
use super::traffic::{Connection, Cut, Stream};

/// How often a stream is looked at that has bytes under way.
const TICK: Duration = Duration::from_secs(5);

/// Spawns the streams of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    connection: Arc<Connection>,
    rule: Rule,
}

impl Streams {
    pub(crate) fn new(connection: Arc<Connection>, rule: Rule) -> Self {
        Self { connection, rule }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        // hyper has just called the service, which opened it.
        match self.connection.take_stream() {
            Some(stream) => {
                let open = Open(stream);
                let (rule, watch) = (self.rule, None);
                tokio::spawn(Sending { future: Some(Box::pin(future)), open, rule, watch });
            }
            None => {
                tokio::spawn(future);
            }
        }
    }
}

/// Closes the stream when it is dropped.
struct Open(Arc<Stream>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One request, and the sending of its response.
struct Sending<F> {
    /// `None` once it was given up.
    future: Option<Pin<Box<F>>>,
    open: Open,
    rule: Rule,
    /// While bytes are under way.
    watch: Option<Watched>,
}

struct Watched {
    sleep: Pin<Box<Sleep>>,
    rule: Rule,
    pace: Pace,
    moved: u64,
}

impl<F: Future<Output = ()>> Future for Sending<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let stream = &this.open.0;
        if this.watch.is_none() && stream.queued() > 0 {
            this.watch = Some(Watched::new(stream, this.rule));
        }
        if let Some(watch) = &mut this.watch {
            match watch.poll_end(cx, stream) {
                Poll::Pending => {}
                Poll::Ready(false) => this.watch = None,
                Poll::Ready(true) => {
                    stream.connection().traffic().cut(Cut::SlowResponse);
                    this.future = None;
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}

impl Watched {
    fn new(stream: &Stream, rule: Rule) -> Self {
        let now = Instant::now();
        let mut pace = Pace::new(rule);
        pace.wait(now);
        stream.was_empty();
        let sleep = Box::pin(tokio::time::sleep_until(now + TICK));
        Self { sleep, rule, pace, moved: stream.moved() }
    }

    /// Ready once all that was under way has been taken (false), or the peer is too slow (true).
    fn poll_end(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<bool> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let moved = stream.moved();
            if stream.was_empty() {
                if stream.queued() == 0 {
                    return Poll::Ready(false);
                }
                // All was taken at some time, so the peer did not keep us waiting. What is under way now has come since,
                // and nothing else may poll this again.
                self.pace = Pace::new(self.rule);
                self.pace.wait(now);
                self.moved = moved;
            } else if moved > self.moved {
                let bytes = usize::try_from(moved - self.moved).unwrap_or(usize::MAX);
                self.pace.moved(|| now, bytes);
                self.pace.wait(now);
                self.moved = moved;
            }
            if self.pace.verdict(now).is_some() {
                return Poll::Ready(true);
            }
            self.sleep.as_mut().reset(now + TICK);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf as _, Bytes};

    use super::super::traffic::{Meter, Piece, Traffic};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULE: Rule =
        Rule { rate: 240, grace: Duration::from_secs(30), stall: Some(Duration::from_secs(30)) };

    /// Sends a piece of which `taken` bytes go each second; returns the seconds until the stream is gone, if it is.
    async fn send(mut piece: impl FnMut(&Meter) -> Piece, taken: usize) -> Option<u64> {
        let traffic = Arc::new(Traffic::default());
        let connection = Connection::new(Arc::clone(&traffic));
        let meter = Meter::Http2(connection.open_stream());
        let streams = Streams::new(Arc::clone(&connection), RULE);
        hyper::rt::Executor::execute(&streams, std::future::pending());
        assert_eq!(connection.view().streams, 1);
        let begin = Instant::now();
        let mut sent = Some(piece(&meter));
        while connection.view().streams > 0 {
            if begin.elapsed() > SECOND * 3600 {
                return None;
            }
            tokio::time::sleep(SECOND).await;
            match &mut sent {
                Some(sent) if taken < sent.remaining() => sent.advance(taken),
                sent => {
                    // All that the guest had to say has been taken, for a moment.
                    drop(sent.take());
                    *sent = Some(piece(&meter));
                }
            }
        }
        assert_eq!(traffic.measure().cut(Cut::SlowResponse), 1);
        Some(begin.elapsed().as_secs())
    }

    fn large(meter: &Meter) -> Piece {
        meter.piece(Bytes::from_static(&[0; 16_384]))
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_response_is_cut() {
        assert_eq!(send(large, 0).await, Some(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_stops_later_is_cut() {
        let traffic = Arc::new(Traffic::default());
        let connection = Connection::new(Arc::clone(&traffic));
        let meter = Meter::Http2(connection.open_stream());
        let streams = Streams::new(Arc::clone(&connection), RULE);
        hyper::rt::Executor::execute(&streams, std::future::pending());
        let first = large(&meter);
        tokio::time::sleep(SECOND).await;
        // All is taken, and more comes before the stream is looked at again.
        drop(first);
        let rest = large(&meter);
        tokio::time::sleep(SECOND * 60).await;
        assert_eq!((connection.view().streams, traffic.measure().cut(Cut::SlowResponse)), (0, 1));
        drop(rest);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_trickles_is_cut() {
        assert_eq!(send(large, 1).await, Some(36));
        assert!(send(large, 100).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_at_the_least_rate_goes_on() {
        assert_eq!(send(large, 300).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_says_little_is_not_cut() {
        assert_eq!(send(|meter| meter.piece(Bytes::from_static(b"tick\n")), 5).await, None);
    }
}

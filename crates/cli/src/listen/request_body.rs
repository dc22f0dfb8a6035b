//! A request's body, which has to come in good time.
//!
//! A client that sends a byte now and then would hold a guest for as long as it likes. So while a reader waits for the
//! body, it has to come at the least rate; and all of it has to have come when its time is over. Else the reader gets an
//! error, and the client a 408, or a response that breaks off if its head is out already.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::pace::{Pace, Rule};
use super::traffic::{Connection, Cut};
use crate::error::BoxError;

/// What is asked of the bodies of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    pub(crate) rule: Rule,
    /// From the head to the end of the body; `None`: as long as it likes.
    pub(crate) timeout: Option<Duration>,
}

/// The body of a request as the listener gives it to services.
pub(crate) struct RequestBody<B = Incoming> {
    inner: B,
    /// `None` if there is nothing to come.
    watch: Option<Watch>,
}

struct Watch {
    connection: Arc<Connection>,
    pace: Pace,
    /// When all of it has to have come.
    deadline: Option<Instant>,
    /// Goes off at the earlier of the deadlines, or before; `None` until it was waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    cut: WasCut,
}

/// Whether a request's body was cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct WasCut(Arc<AtomicBool>);

impl WasCut {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why a request's body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooSlow {
    Rate,
    Timeout,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "the client sends the request's body too slowly",
            Self::Timeout => "the request's body takes longer than it may",
        })
    }
}

impl std::error::Error for TooSlow {}

impl<B: Body> RequestBody<B> {
    /// Returns the body, and what tells whether it was cut, if there is a body to come.
    pub(crate) fn new(
        inner: B,
        limits: BodyLimits,
        connection: &Arc<Connection>,
    ) -> (Self, Option<WasCut>) {
        if inner.is_end_stream() {
            return (Self { inner, watch: None }, None);
        }
        let cut = WasCut::default();
        let watch = Watch {
            connection: Arc::clone(connection),
            pace: Pace::new(limits.rule),
            deadline: limits.timeout.map(|timeout| Instant::now() + timeout),
            sleep: None,
            cut: cut.clone(),
        };
        (Self { inner, watch: Some(watch) }, Some(cut))
    }
}

impl Watch {
    /// Becomes ready once a reader has waited for too long.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        if !self.pace.waits() {
            self.pace.wait(Instant::now());
        }
        let by_rate = self.pace.deadline();
        let Some(deadline) = by_rate.into_iter().chain(self.deadline).min() else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(TooSlow::Timeout);
            }
            if self.pace.verdict(now).is_some() {
                return Poll::Ready(TooSlow::Rate);
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// Takes note of bytes that have come.
    fn receive(&mut self, bytes: usize) -> Result<(), TooSlow> {
        if bytes > 0 {
            self.connection.received();
        }
        self.pace.moved(Instant::now, bytes);
        // A client that always has something to send is never waited for.
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(TooSlow::Timeout),
            _ => Ok(()),
        }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.watch.as_ref().is_some_and(|watch| watch.cut.get()) {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        let Some(watch) = &mut this.watch else {
            return frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        };
        let too_slow = match frame {
            Poll::Pending => match watch.poll_too_slow(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(too_slow) => too_slow,
            },
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                match watch.receive(bytes) {
                    Ok(()) => return Poll::Ready(Some(Ok(frame))),
                    Err(too_slow) => too_slow,
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                this.watch = None;
                return Poll::Ready(None);
            }
        };
        watch.connection.traffic().cut(match too_slow {
            TooSlow::Rate => Cut::SlowRequest,
            TooSlow::Timeout => Cut::LongRequest,
        });
        watch.cut.0.store(true, Ordering::Release);
        Poll::Ready(Some(Err(too_slow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    use super::super::traffic::Traffic;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: BodyLimits = BodyLimits {
        rule: Rule { rate: 240, grace: Duration::from_secs(30), stall: None },
        timeout: Some(Duration::from_secs(300)),
    };

    /// What is sent, one frame for each.
    struct Coming(mpsc::Receiver<Bytes>);

    impl Body for Coming {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    /// Reads a body of which `bytes` come each `every`, in all `pieces`; returns the bytes or what was wrong, and when.
    async fn read(
        limits: BodyLimits,
        (pieces, bytes, every): (usize, usize, Duration),
    ) -> (Result<usize, String>, u64) {
        let (sender, coming) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..pieces {
                tokio::time::sleep(every).await;
                let _ = sender.send(vec![0; bytes].into()).await;
            }
        });
        let traffic = Arc::new(Traffic::default());
        let (body, cut) =
            RequestBody::new(Coming(coming), limits, &Connection::new(Arc::clone(&traffic)));
        let begin = Instant::now();
        let read = body.collect().await;
        let cuts = traffic.measure();
        let cuts = cuts.cut(Cut::SlowRequest) + cuts.cut(Cut::LongRequest);
        assert_eq!((cut.unwrap().get(), cuts), (read.is_err(), u64::from(read.is_err())));
        let read = read.map(|read| read.to_bytes().len()).map_err(|error| error.to_string());
        (read, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends() {
        let (read, seconds) = read(LIMITS, (100, 1, SECOND * 6)).await;
        assert_eq!((read, seconds), (Err(TooSlow::Rate.to_string()), 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_the_least_rate_comes_whole() {
        assert_eq!(read(LIMITS, (200, 240, SECOND)).await, (Ok(48_000), 200));
        let any = BodyLimits { rule: Rule { rate: 0, ..LIMITS.rule }, timeout: None };
        assert_eq!(read(any, (100, 1, SECOND * 100)).await, (Ok(100), 10_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_too_long_ends_then() {
        let (late, seconds) = read(LIMITS, (2, 48_000, SECOND * 160)).await;
        assert_eq!((late, seconds), (Err(TooSlow::Rate.to_string()), 30));
        let (late, seconds) = read(LIMITS, (1000, 4800, SECOND)).await;
        assert_eq!((late, seconds), (Err(TooSlow::Timeout.to_string()), 300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_slow_itself_is_not_cut() {
        let (sender, coming) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..4 {
                sender.send(Bytes::from_static(b"a")).await.unwrap();
            }
        });
        let connection = Connection::new(Arc::default());
        let (mut body, _) = RequestBody::new(Coming(coming), LIMITS, &connection);
        for _ in 0..4 {
            tokio::time::sleep(SECOND * 60).await;
            body.frame().await.unwrap().unwrap();
        }
    }
}

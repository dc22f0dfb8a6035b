//! The timer for the heads of one connection's requests.
//!
//! hyper sets a timer before each head and takes it away once the head is there. In tokio each of the two takes a
//! lock that all connections share; so the connection keeps one of tokio's timers, which goes off now and then, is set
//! to the newest deadline, and sleeps on.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// One for each connection; hyper uses one sleep of it at a time.
#[derive(Clone)]
pub(crate) struct HeadTimer(Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>);

impl HeadTimer {
    /// For heads that have `timeout` each: no deadline comes before that is over.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(timeout)))))
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep { timer: self.clone(), deadline })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

struct HeadSleep {
    timer: HeadTimer,
    deadline: Instant,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from(self.deadline);
        let mut sleep = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() == deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl fmt::Debug for HeadTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeadTimer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

    /// How long each of these heads is waited for: until it comes, or until the time is over.
    async fn waits(heads: &[Duration]) -> Vec<Duration> {
        let timer = HeadTimer::new(TIMEOUT);
        let mut waits = Vec::new();
        for head in heads {
            let begin = tokio::time::Instant::now();
            tokio::select! {
                () = timer.sleep(TIMEOUT) => {}
                () = tokio::time::sleep(*head) => {}
            }
            waits.push(begin.elapsed());
        }
        waits
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_the_whole_time() {
        let [short, long] = [10, 20].map(Duration::from_secs);
        assert_eq!(waits(&[long]).await, [TIMEOUT]);
        assert_eq!(waits(&[short, short, long, short]).await, [short, short, TIMEOUT, short]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_come_sooner_than_the_last() {
        let timer = HeadTimer::new(TIMEOUT);
        let begin = tokio::time::Instant::now();
        let mut late = timer.sleep(TIMEOUT);
        assert!(look_at(&mut late).await.is_pending());
        drop(late);
        timer.sleep(Duration::from_secs(1)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
    }

    async fn look_at(sleep: &mut Pin<Box<dyn Sleep>>) -> Poll<()> {
        std::future::poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await
    }
}

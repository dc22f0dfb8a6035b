//! Writes to a peer that does not read, or too slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use crate::listen::pace::{Pace, Rule, Slow};
use crate::listen::traffic::{Connection, Cut};

/// What becomes of what is written.
#[derive(Debug)]
pub(super) struct Writes {
    pace: Pace,
    /// Goes off no later than the pace's deadline while something waits; `None` until something has.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Writes {
    pub(super) fn new(rule: Rule) -> Self {
        Self { pace: Pace::new(rule), sleep: None }
    }

    /// Takes note of how a write went.
    pub(super) fn see(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        connection: &Connection,
    ) -> Poll<io::Result<usize>> {
        let Poll::Pending = written else {
            if let Poll::Ready(Ok(bytes)) = &written {
                self.pace.moved(Instant::now, *bytes);
            }
            return written;
        };
        if !self.pace.waits() {
            self.pace.wait(Instant::now());
        }
        let Some(deadline) = self.pace.deadline() else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            // One that goes off too early is set anew then: that is rarer than writes that wait.
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(slow) = self.pace.verdict(Instant::now()) {
                connection.traffic().cut(match slow {
                    Slow::Stalled => Cut::WriteStalled,
                    Slow::Trickles => Cut::SlowWrites,
                });
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

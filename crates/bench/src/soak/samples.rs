//! What the servers hold and what innocents wait for, second by second.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep_until};

use super::innocents::{Seen, histogram};
use crate::Fallible;
use crate::compare::process;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    WarmUp,
    /// Innocents alone.
    Calm,
    Attack,
    /// What the hostile left behind ends.
    Settling,
    /// Innocents alone again.
    After,
}

/// One second.
pub(super) struct Sample {
    pub(super) phase: Phase,
    /// Requests so far.
    pub(super) requests: u64,
    /// Of each server.
    pub(super) held: [Held; 2],
    pub(super) latencies: Histogram<u64>,
}

/// What a process holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    /// Resident, in MiB.
    pub(super) memory: f64,
    pub(super) descriptors: usize,
    pub(super) threads: usize,
}

impl Sample {
    /// Of both servers.
    pub(super) fn sum(&self, of: impl Fn(&Held) -> f64) -> f64 {
        self.held.iter().map(of).sum()
    }

    pub(super) fn millis(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

pub(super) struct Samples {
    pids: [u32; 2],
    seen: Arc<Seen>,
    pub(super) all: Vec<Sample>,
}

impl Samples {
    pub(super) fn new(pids: [u32; 2], seen: Arc<Seen>) -> Self {
        Self { pids, seen, all: Vec::new() }
    }

    /// Takes one each second.
    pub(super) async fn take(&mut self, phase: Phase, time: Duration) -> Fallible<()> {
        let wrong = self.seen.wrong.load(Relaxed);
        eprintln!("{phase:?} for {} s; {wrong} wrong so far", time.as_secs());
        let mut next = Instant::now();
        for _ in 0..time.as_secs().max(2) {
            next += SECOND;
            sleep_until(next).await;
            let held = [hold(self.pids[0])?, hold(self.pids[1])?];
            let (requests, latencies) = (self.seen.requests(), self.seen.take_latencies());
            self.all.push(Sample { phase, requests, held, latencies });
        }
        Ok(())
    }

    pub(super) fn of(&self, phase: Phase) -> Vec<&Sample> {
        self.all.iter().filter(|sample| sample.phase == phase).collect()
    }

    /// All latencies of a phase.
    pub(super) fn latencies(&self, phase: Phase) -> Histogram<u64> {
        let mut all = histogram();
        for sample in self.of(phase) {
            all.add(&sample.latencies).expect("the same bounds");
        }
        all
    }
}

fn hold(pid: u32) -> Fallible<Held> {
    let gone = |error| format!("a server is gone: {error}");
    let memory = process::memory(pid).map_err(gone)?.now;
    let count = |what| Fallible::Ok(std::fs::read_dir(format!("/proc/{pid}/{what}"))?.count());
    Ok(Held { memory, descriptors: count("fd")?, threads: count("task")? })
}

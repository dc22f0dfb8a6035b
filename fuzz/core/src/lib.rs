//! What fuzzers run on pool-core: bytes become the life of a pool, which its ledger watches.

#[path = "../../../crates/pool-core/tests/rules/common/mod.rs"]
#[allow(missing_docs, reason = "it belongs to pool-core's tests")]
mod common;

use std::time::Duration;

use millpond_pool_core::{Limits, MaxRequests};

use common::life::{self, Step};
use common::{NEVER, Rig};

/// Later steps are not taken: the ledger looks at all that was before, each time.
const MAX_STEPS: usize = 400;

/// Lives a life, and checks it after each step.
///
/// # Panics
///
/// If the pool breaks a promise.
pub fn pool(data: &[u8]) {
    let mut bytes = Bytes(data);
    let Some(head) = bytes.next() else { return };
    let limits: Vec<_> = (0..=head % 3).map(|_| limits(&mut bytes)).collect();
    let mut rig = Rig::seeded(limits[0].clone(), bytes.small().into());
    if head & 0x80 != 0 {
        rig = rig.budgeted();
    }
    rig.hold_verdicts = true;
    let mut ended = false;
    for _ in 0..MAX_STEPS {
        let Some(step) = step(&mut bytes) else { break };
        // The ledger knows of one end.
        if matches!(step, Step::Drain | Step::Stop) && std::mem::replace(&mut ended, true) {
            continue;
        }
        life::take(&mut rig, step, &limits);
    }
    life::finish(&mut rig);
    life::check_end(&rig);
}

/// The rest of the input; zeros after its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn small(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn index(&mut self) -> usize {
        self.small().into()
    }

    /// Mostly short, up to a minute.
    fn millis(&mut self) -> u64 {
        let (base, doublings) = (u64::from(self.small()), self.small() % 9);
        base << doublings
    }

    fn time(&mut self) -> Duration {
        match self.small() {
            0 => Duration::ZERO,
            1 => NEVER,
            _ => Duration::from_millis(self.millis()),
        }
    }
}

fn limits(bytes: &mut Bytes<'_>) -> Limits {
    let mut limits = Limits::default();
    limits.max_instances = bytes.index() % 6;
    limits.max_queue = bytes.index() % 9;
    limits.concurrency = 1 + bytes.index() % 4;
    limits.max_running = bytes.index().checked_sub(200).map(|most| most % 7);
    limits.min_idle = bytes.index() % 9;
    limits.queue_timeout = bytes.time();
    limits.start_timeout = bytes.time();
    limits.request_timeout = bytes.time();
    limits.settle_time = bytes.time();
    let most = match bytes.small() {
        0 => MaxRequests::unlimited(),
        most => MaxRequests::exactly(u64::from(most)),
    };
    limits.max_requests = most.shortened_by(f64::from(bytes.small()) / 255.0);
    limits
}

fn step(bytes: &mut Bytes<'_>) -> Option<Step> {
    Some(match bytes.next()? % 40 {
        0..4 => Step::Submit,
        4 => Step::Reserve,
        5 => Step::Release,
        6 => Step::SubmitReserved,
        7 => Step::Cancel(bytes.index()),
        8 | 9 => Step::Start(bytes.index()),
        10 => Step::FailStart(bytes.index()),
        11 => Step::Exhaust(bytes.index()),
        12 => Step::Settle(bytes.index()),
        13 => Step::Backpressure(bytes.index(), bytes.small() & 1 == 1),
        14 => Step::Respond(bytes.index()),
        15 => Step::Pin(bytes.index()),
        16 => Step::Resume(bytes.index()),
        17 => Step::Progress(bytes.index()),
        18 => Step::End(bytes.index()),
        19 => Step::Fail(bytes.index()),
        20 => Step::Return(bytes.index()),
        21 => Step::Quiet(bytes.index()),
        22 => Step::Close(bytes.index()),
        23 => Step::Break(bytes.index()),
        24 => Step::Drop(bytes.index()),
        25 => Step::Pass(bytes.small().into()),
        26 => Step::Pass(bytes.millis()),
        27 => Step::Jump(bytes.millis()),
        28 => Step::Limits(bytes.index()),
        29 => Step::Verdict(bytes.index(), bytes.small() & 1 == 1),
        30 => Step::WakeAt(bytes.index(), bytes.millis()),
        31 => Step::StaleVerdict(bytes.index()),
        32 => Step::Late(bytes.index(), bytes.small() % 8),
        33 => Step::Usage(bytes.index(), bytes.index()),
        34 => Step::Grant,
        35 => Step::Reclaim,
        36 => Step::Room,
        37 => Step::Drain,
        38 => Step::Stop,
        _ => Step::Submit,
    })
}

#[cfg(test)]
mod tests {
    /// What fuzzers found, and what they begin with.
    #[test]
    fn the_corpus_breaks_nothing() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/pool");
        for entry in std::fs::read_dir(corpus).unwrap() {
            super::pool(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}

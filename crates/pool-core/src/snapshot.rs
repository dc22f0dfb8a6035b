//! The pool's gauges and counters, at one moment.

use std::fmt;

use crate::histogram::Histogram;
use crate::reason::{Outcome, Reason};

/// Gauges and counters of a pool, all of one moment.
///
/// The conservation invariant holds in each of them:
/// `submitted = queued + starting + busy + pinned + responded + failed + refused + cancelled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Permits that could be had now.
    pub permits_free: usize,
    /// Permits reserved and not yet spent.
    pub permits_reserved: usize,
    /// Requests in the queue.
    pub queued: usize,
    /// Requests whose own instance is starting.
    pub starting: usize,
    /// Requests that wait for their response head while a guest works on them.
    pub busy: usize,
    /// Requests that wait for their response head while their guest waits for the host: see
    /// [`InstanceEvent::Pinned`](crate::InstanceEvent::Pinned).
    pub pinned: usize,
    /// Requests whose body is open.
    pub streaming: usize,
    /// Requests that guests still work on though no caller waits for the answer: the caller left or
    /// has had its 504.
    pub abandoned: usize,
    /// Live instances, by what they do.
    pub instances: InstanceGauges,
    /// Requests submitted so far.
    pub submitted: u64,
    /// Requests whose response head was given to their caller.
    pub responded: u64,
    /// Requests that a guest saw and that got no response.
    pub failed: u64,
    /// Requests turned away before a guest saw them.
    pub refused: u64,
    /// Requests whose caller went away before the response head.
    pub cancelled: u64,
    /// Requests turned away for want of a permit, so never submitted.
    pub overloaded: u64,
    /// Instances started, failed starts included.
    pub starts: u64,
    /// Starts that failed or were given up.
    pub failed_starts: u64,
    /// Instances retired.
    pub retired: Retirements,
    /// Whether the pool takes no more requests.
    pub draining: bool,
    /// Instances made ahead that wait for their first request.
    pub spares: usize,
    /// Whether an instance is wanted and cannot be had: the pool, its budget or the allocator is full.
    pub pressure: bool,
    /// How long requests waited in the queue, of those that were handed over.
    pub queue_wait: Histogram,
    /// How long instances took to start, of those that did.
    pub start_time: Histogram,
    /// How long requests ran: from hand-over until their seat was free, the body included.
    pub run_time: Histogram,
}

impl Snapshot {
    /// Requests submitted less requests accounted for: 0, unless there is a bug.
    pub fn unaccounted(&self) -> i128 {
        let here = (self.queued + self.starting + self.busy + self.pinned) as i128;
        let done = self.responded as i128
            + i128::from(self.failed)
            + i128::from(self.refused)
            + i128::from(self.cancelled);
        i128::from(self.submitted) - here - done
    }

    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Responded => self.responded += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Cancelled => self.cancelled += 1,
        }
    }
}

/// Live instances, by what they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceGauges {
    /// Being started.
    pub starting: usize,
    /// With a request that waits for its head.
    pub busy: usize,
    /// Kept for a request while the guest waits for the host, and nothing busy.
    pub pinned: usize,
    /// With open bodies, and nothing busy or pinned.
    pub streaming: usize,
    /// Working though all bodies have ended.
    pub post_return: usize,
    /// With nothing to do.
    pub idle: usize,
    /// Being retired: the store is not yet dropped.
    pub retiring: usize,
}

impl InstanceGauges {
    /// All live instances.
    pub fn live(&self) -> usize {
        let serving = self.busy + self.pinned + self.streaming + self.post_return;
        self.starting + serving + self.idle + self.retiring
    }
}

/// How many instances were retired for each reason.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Retirements {
    counts: [u64; Reason::ALL.len()],
}

impl fmt::Debug for Retirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(counted.map(|(reason, count)| (reason.as_str(), count))).finish()
    }
}

impl Retirements {
    /// Instances retired for this reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    /// Instances retired.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }

    pub(crate) fn count(&mut self, reason: Reason) {
        self.counts[reason as usize] += 1;
    }
}

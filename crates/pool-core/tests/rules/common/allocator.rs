//! The ledger's opinion on an allocator that was found full: how many instances it holds, and when
//! one more may be tried.

use std::time::{Duration, Instant};

use super::ledger::Ledger;

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Allocator {
    /// So many live instances fit, as far as the starts have shown.
    pub holds: Option<usize>,
    /// One more is tried then.
    pub probe_at: Option<Instant>,
    /// The last probe has not yet shown anything.
    probing: bool,
    wait: Duration,
}

impl Ledger {
    /// How many more instances fit.
    pub fn fitting(&self) -> usize {
        self.allocator.holds.map_or(usize::MAX, |holds| holds.saturating_sub(self.instances.len()))
    }

    /// A start found it full; the instance is already gone from the ledger.
    pub fn found_full(&mut self) {
        let live = self.instances.len();
        let allocator = &mut self.allocator;
        allocator.holds = Some(live.min(allocator.holds.unwrap_or(usize::MAX)));
        if allocator.probing {
            allocator.wait = LONGEST_WAIT.min(allocator.wait * 2);
        }
        allocator.probing = false;
    }

    /// A start found room.
    pub fn found_room(&mut self) {
        if self.allocator.probing {
            (self.allocator.probing, self.allocator.wait) = (false, FIRST_WAIT);
        }
    }

    /// Reports that there may be room for one more.
    pub fn may_fit(&mut self) {
        self.allocator.holds = self.allocator.holds.map(|holds| holds + 1);
    }

    /// After an input: if an instance is needed that does not fit, the pool plans another try.
    pub fn plan_probe(&mut self) {
        let allocator = &self.allocator;
        let needed = self.missing_seats() > 0 || self.missing_spares() > 0;
        if self.fitting() == 0 && allocator.probe_at.is_none() && needed {
            self.allocator.wait = self.allocator.wait.max(FIRST_WAIT);
            self.allocator.probe_at = self.now.checked_add(self.allocator.wait);
        }
    }

    /// The clock was looked at, and those whose time in the queue is over have been refused.
    pub fn probe(&mut self) {
        if self.allocator.probe_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.allocator.probe_at = None;
        let overdue =
            |request_id: &u64| self.requests[request_id].deadline.is_some_and(|at| at <= self.now);
        let waiting = self.queue().iter().filter(|request_id| !overdue(request_id)).count();
        if self.missing_seats_of(waiting) > 0 || self.missing_spares() > 0 {
            if self.allocator.probing {
                self.allocator.wait = LONGEST_WAIT.min(self.allocator.wait * 2);
            }
            self.allocator.probing = true;
            self.may_fit();
        } else {
            self.allocator.holds = None;
        }
    }
}

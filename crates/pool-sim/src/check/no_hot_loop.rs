//! No hot loop: a full allocator is tried now and then, not as fast as it can say no.
//!
//! Of all pools that share an allocator together: messages between them must not make a circle. In each
//! second no more starts may find it full than there are reasons to try: tries and spares that are
//! paced, one for each request that came and each place that was freed, and a full set for each pool
//! whose limits changed.

use super::{Checked, hold};
use crate::agenda::{SECOND, Time};

/// What each pool may do of itself in a second: tries after 10, 20, 40 ms and so on, and spares.
const PACED: u64 = 110;
/// The largest `max_instances` of any scenario.
const FULL_SET: u64 = 40;

/// One allocator, in the second that runs.
#[derive(Debug)]
pub(crate) struct NoHotLoop {
    pools: u64,
    began: Time,
    full: u64,
    reasons: u64,
}

impl NoHotLoop {
    pub(crate) const NAME: &str = "no-hot-loop";

    pub(crate) fn new(pools: u64) -> Self {
        Self { pools, began: 0, full: 0, reasons: 0 }
    }

    /// A request came, a place was freed.
    pub(crate) fn reason(&mut self) {
        self.reasons += 1;
    }

    /// Limits changed.
    pub(crate) fn changed(&mut self) {
        self.reasons += FULL_SET;
    }

    /// A start found it full.
    pub(crate) fn found_full(&mut self, now: Time) -> Checked {
        if now - self.began > SECOND {
            (self.began, self.full, self.reasons) = (now, 0, 0);
        }
        self.full += 1;
        let most = self.pools * (PACED + FULL_SET) + self.reasons;
        hold!(self.full <= most, "the allocator was found full {} times in a second", self.full);
        Ok(())
    }
}

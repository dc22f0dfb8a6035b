//! What is known of the allocator: it may hold fewer instances than the pool's limit.
//!
//! The allocator does not tell how many it holds, so the pool learns: a start that found it full shows
//! that there is room for the live instances, and no more. From then on one is started for each that is
//! dropped. Now and then one more is tried, since the allocator may serve others too.

use std::time::{Duration, Instant};

use super::Pool;

/// Between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Allocator {
    /// So many instances it has room for, as far as known; `None`: it was never full.
    ceiling: Option<usize>,
    /// When to try one more.
    pub(super) probe_at: Option<Instant>,
    /// One more is being tried.
    probing: bool,
    wait: Duration,
}

impl<T, H: Clone + Default> Pool<T, H> {
    /// A start found the allocator full; the instance is gone.
    pub(super) fn lower_ceiling(&mut self) {
        let live = self.instances.len();
        let allocator = &mut self.allocator;
        allocator.ceiling = Some(allocator.ceiling.map_or(live, |ceiling| ceiling.min(live)));
        if std::mem::take(&mut allocator.probing) {
            allocator.wait = (allocator.wait * 2).min(LONGEST_WAIT);
        }
    }

    /// There may be room for one more.
    pub(super) fn raise_ceiling(&mut self) {
        if let Some(ceiling) = &mut self.allocator.ceiling {
            *ceiling += 1;
        }
    }

    /// A start found room.
    pub(super) fn note_room(&mut self) {
        if std::mem::take(&mut self.allocator.probing) {
            self.allocator.wait = FIRST_WAIT;
        }
    }

    /// How many more instances the allocator has room for, as far as known.
    pub(super) fn room_left(&self) -> usize {
        let live = self.instances.len();
        self.allocator.ceiling.map_or(usize::MAX, |ceiling| ceiling.saturating_sub(live))
    }

    /// Plans another try of a full allocator if a request or a spare waits for it.
    pub(super) fn plan_probe(&mut self, now: Instant) {
        if self.room_left() > 0 || self.allocator.probe_at.is_some() {
            return;
        }
        if self.missing_seats() > 0 || self.spares_are_missing() {
            self.allocator.wait = self.allocator.wait.max(FIRST_WAIT);
            self.allocator.probe_at = now.checked_add(self.allocator.wait);
        }
    }

    /// Tries one more, if it is time.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.allocator.probe_at.is_none_or(|at| at > now) {
            return;
        }
        self.allocator.probe_at = None;
        if self.missing_seats() > 0 || self.spares_are_missing() {
            // One that has not shown anything yet may well be one too many.
            if std::mem::replace(&mut self.allocator.probing, true) {
                self.allocator.wait = (self.allocator.wait * 2).min(LONGEST_WAIT);
            }
            self.raise_ceiling();
        } else {
            self.allocator.ceiling = None;
        }
    }
}

//! Instances made ahead, off the request path.

use std::time::{Duration, Instant};

use crate::reason::Reason;
use crate::view::InstanceId;

use super::counts::gauge::Gauge;
use super::{Pool, sooner};

/// After a spare failed to start, or ended unused, the next one waits: first this long, then longer.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After one was reclaimed: the pool that needed its place needs it for a while.
const RECLAIMED_WAIT: Duration = Duration::from_secs(1);

/// How long a request that took one can put off the making of the next: alone, or beside others.
const ALONE: Duration = Duration::from_millis(250);
const BESIDE_OTHERS: Duration = Duration::from_millis(1);

/// The state of the making of spares.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// No new ones before this.
    pub(super) not_before: Option<Instant>,
    /// One was used: to start another would take the processor from the request that took it. So not
    /// before a store has been dropped, probably its own, or the clock is looked at.
    rests: bool,
    /// When the clock is to be looked at for that. To ask for it wakes another thread, which costs the
    /// request as much as the start would; so a time once asked for stays.
    look_at: Option<Instant>,
    /// How long the last wait was.
    wait: Duration,
    /// As many instances have started, at some time, as are to be kept.
    pub(super) warmed: bool,
}

impl Spares {
    /// One came to nothing, and is missing now.
    fn failed(&mut self, now: Instant, reason: Reason) {
        let wait = if reason == Reason::Pressure {
            RECLAIMED_WAIT
        } else {
            // Those that were started together fail together: that is one failure.
            if self.not_before.is_none_or(|at| at <= now) {
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
            }
            self.wait = self.wait.max(FIRST_WAIT);
            self.wait
        };
        self.not_before = self.not_before.max(now.checked_add(wait));
    }

    /// One was of use, to a request that runs alone or not.
    pub(super) fn used(&mut self, now: Instant, alone: bool) {
        self.wait = Duration::ZERO;
        self.rests = true;
        let look_at = now.checked_add(if alone { ALONE } else { BESIDE_OTHERS });
        self.look_at = self.look_at.into_iter().chain(look_at).min();
    }

    /// The clock is looked at.
    pub(super) fn look(&mut self, now: Instant) {
        self.rested();
        self.look_at = self.look_at.filter(|at| *at > now);
    }

    /// Lets the next spare start: it holds up no request any more.
    pub(super) fn rested(&mut self) {
        self.rests = false;
    }
}

impl<T, H: Clone + Default> Pool<T, H> {
    /// Starts as many spares as are missing and may be started.
    pub(super) fn start_spares(&mut self, now: Instant) {
        if self.limits.min_idle == 0 {
            return;
        }
        if self.spares.not_before.is_some_and(|at| at <= now) {
            self.spares.not_before = None;
        }
        for _ in 0..self.wanted_spares() {
            if !self.may_start() {
                return;
            }
            self.start_spare(now);
        }
    }

    /// How many spares are missing, as far as the pool's own limits allow for them.
    pub(super) fn wanted_spares(&self) -> usize {
        if self.draining || self.spares.rests || self.spares.not_before.is_some() {
            return 0;
        }
        self.missing_spares().min(self.startable())
    }

    /// When to try again to make spares.
    pub(super) fn spares_due(&self) -> Option<Instant> {
        if self.limits.min_idle == 0 {
            return None;
        }
        let retry = self.spares.not_before.filter(|_| self.spares_are_missing());
        sooner(retry, self.spares.look_at)
    }

    fn missing_spares(&self) -> usize {
        let there = self.gauges.idle() + self.gauges.coming_spares();
        self.limits.min_idle.saturating_sub(there)
    }

    pub(super) fn spares_are_missing(&self) -> bool {
        !self.draining && self.missing_spares() > 0
    }

    /// Whether as many instances have started as spares are to be kept (requests may have taken some of
    /// them meanwhile), or none are to be kept, or the pool drains.
    pub fn is_warmed(&self) -> bool {
        self.spares.warmed || self.draining || self.limits.min_idle == 0
    }

    pub(super) fn note_warmth(&mut self) {
        if self.spares.warmed {
            return;
        }
        let most = self.limits.min_idle.min(self.limits.max_instances);
        self.spares.warmed = self.counters.start_time.count() >= most as u64;
    }

    /// An unused spare has ended. If there are enough without it, there is none to be made instead.
    /// With its code replaced, it says nothing of how another would fare.
    pub(super) fn note_lost_spare(&mut self, now: Instant, reason: Reason) {
        if reason != Reason::Swap && self.spares_are_missing() {
            self.spares.failed(now, reason);
        }
    }

    /// Ends spares that are no longer to be kept: with the idle instances there are enough.
    pub(super) fn retire_surplus_spares(&mut self, now: Instant) {
        while self.gauges.idle() > self.limits.min_idle && self.retire_spare(now) {}
    }

    /// Ends those that were still starting when fewer became enough, or whose request came back: no
    /// idle timeout ends them.
    pub(super) fn retire_unwanted_spares(&mut self, now: Instant) {
        while self.gauges.spares() > self.limits.min_idle && self.retire_spare(now) {}
    }

    /// False: there is none.
    fn retire_spare(&mut self, now: Instant) -> bool {
        let spare = self.first_ready(Gauge::Spare);
        if let Some(id) = spare {
            self.retire(now, id, Reason::Idle);
        }
        spare.is_some()
    }

    /// Ends the idle instance that is worth least.
    pub(super) fn reclaim(&mut self, now: Instant) {
        let spare = self.first_ready(Gauge::Spare);
        if let Some(id) = spare.or_else(|| self.first_ready(Gauge::Idle)) {
            self.retire(now, id, Reason::Pressure);
        }
    }

    /// Of those counted so, the one that was used least recently.
    fn first_ready(&self, gauge: Gauge) -> Option<InstanceId> {
        let mut ready = self.ready.iter().map(|(_, id)| *id);
        ready.find(|id| self.instances.get(id.0).is_some_and(|i| i.gauge == gauge))
    }
}

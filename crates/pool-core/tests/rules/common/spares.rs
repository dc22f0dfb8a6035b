//! The ledger's opinion on spares: how many there are to be, and when a new one may be tried.

use std::time::{Duration, Instant};

use millpond_pool_core::Reason;

use super::ledger::{Instance, Ledger};

const BESIDE_OTHERS: Duration = Duration::from_millis(1);
const ALONE: Duration = Duration::from_millis(250);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const RECLAIMED_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Spares {
    pub not_before: Option<Instant>,
    /// One was used, and nothing has happened since that lets another be made.
    pub rests: bool,
    /// When the clock is to be looked at for that.
    look_at: Option<Instant>,
    wait: Duration,
}

impl Instance {
    pub fn is_unused_spare(&self) -> bool {
        self.spare && self.given == 0
    }
}

impl Ledger {
    /// Instances that have nothing to do and could serve.
    pub fn idle(&self) -> usize {
        let idle = self.instances.iter().filter(|(number, instance)| {
            let open = instance.open && !instance.closed && !instance.retiring;
            let held_back = instance.backpressure || instance.settling || instance.working;
            open && !held_back && self.guests(**number).is_empty()
        });
        idle.count()
    }

    /// Spares that are not yet ready: they start, or want no requests yet.
    fn coming_spares(&self) -> usize {
        let coming = |i: &&Instance| {
            let unready = !i.open || ((i.backpressure || i.settling) && !i.closed);
            i.is_unused_spare() && unready && !i.retiring
        };
        self.instances.values().filter(coming).count()
    }

    pub fn missing_spares(&self) -> usize {
        let there = self.idle() + self.coming_spares();
        if self.draining { 0 } else { self.limits.min_idle.saturating_sub(there) }
    }

    /// No spares are made now, since one came to nothing.
    pub fn spares_wait(&self) -> bool {
        self.spares.not_before.is_some_and(|at| at > self.now)
    }

    /// An unused spare ended; it is no longer in the ledger, or marked as retiring.
    pub fn spare_lost(&mut self, reason: Reason) {
        // One whose code was replaced says nothing of the next.
        if reason == Reason::Swap || self.missing_spares() == 0 {
            return;
        }
        let reclaimed = reason == Reason::Pressure;
        if !reclaimed && !self.spares_wait() {
            self.spares.wait = (self.spares.wait * 2).min(LONGEST_WAIT);
        }
        if !reclaimed {
            self.spares.wait = self.spares.wait.max(FIRST_WAIT);
        }
        let wait = if reclaimed { RECLAIMED_WAIT } else { self.spares.wait };
        let until = self.now.checked_add(wait);
        self.spares.not_before = self.spares.not_before.max(until);
    }

    pub fn spare_used(&mut self) {
        self.spares.wait = Duration::ZERO;
        self.spares.rests = true;
        // This one is not yet counted.
        let others = self.requests.values().any(|request| request.place.on().is_some());
        let look_at = self.now + if others { BESIDE_OTHERS } else { ALONE };
        self.spares.look_at = Some(self.spares.look_at.map_or(look_at, |at| at.min(look_at)));
    }

    pub fn look_at_spares(&mut self) {
        self.spares.rests = false;
        self.spares.look_at = self.spares.look_at.filter(|at| *at > self.now);
    }

    pub fn saw_spare_start(&mut self) {
        assert!(!self.draining, "a spare for a pool that drains");
        assert!(self.missing_spares() > 0, "a spare beyond min_idle");
        assert!(!self.spares.rests, "a spare beside the request that took the last one");
        assert!(!self.spares_wait(), "a spare though the last one came to nothing");
        assert_eq!(self.missing_seats(), 0, "a spare while a request waits for an instance");
    }

    /// What is to be there is there, or is on its way, or cannot be had.
    pub fn check_spares(&self, timeout: Option<Instant>) {
        if self.vague {
            return;
        }
        let unused = self.instances.values().filter(|instance| {
            let held_back = instance.backpressure || instance.settling || instance.closed;
            let ready = instance.open && !held_back;
            instance.is_unused_spare() && ready && !instance.retiring
        });
        assert!(unused.count() <= self.limits.min_idle, "more spares than min_idle");
        let full = self.instances.len() >= self.limits.max_instances || self.fitting() == 0;
        let asked = self.account.is_some();
        if self.missing_spares() > 0 && !full && !asked && self.looked {
            let looked_at = self.spares.look_at.filter(|_| self.spares.rests);
            let at = self.spares.not_before.max(looked_at);
            let at = at.expect("spares are missing and none are planned");
            assert!(timeout.is_some_and(|timeout| timeout <= at), "spares are missing for ever");
        }
    }
}

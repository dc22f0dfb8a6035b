//! What a pool with a budget has been granted, and what it has told the budget.

use std::time::Instant;

use crate::budget::Claim;
use crate::pool::action::Action;

use crate::pool::Pool;

#[derive(Debug, Default)]
pub(in crate::pool) struct Account {
    /// Grants that no instance has been started on yet.
    pub(in crate::pool) held: usize,
    /// All so far.
    granted: u64,
    released: u64,
    /// Stores, so far.
    dropped: u64,
    reclaims: u64,
    rooms: u64,
    /// The newest.
    sent: Claim,
}

impl Account {
    /// An instance is gone, or a grant was not needed.
    pub(in crate::pool) fn release(&mut self, grants: usize) {
        self.released += grants as u64;
    }

    /// A store is gone.
    pub(in crate::pool) fn note_drop(&mut self) {
        self.dropped += 1;
    }
}

impl<T, H: Clone + Default> Pool<T, H> {
    /// Makes its instances count against a budget: it starts one for each grant. The driver takes its
    /// [`Effect::Claim`](crate::state::Effect::Claim)s to the budget, and the budget's effects here.
    #[must_use]
    pub fn with_budget(mut self) -> Self {
        self.account = Some(Account::default());
        self
    }

    /// The budget lets it start one instance. What is not needed goes back with the next claim.
    pub fn handle_grant(&mut self, now: Instant) {
        if let Some(account) = &mut self.account {
            account.held += 1;
            account.granted += 1;
            self.dispatch(now);
            self.retire_idle_if_drained(now);
        }
    }

    /// The budget asks for an idle instance. The one that is worth least goes: a spare, else the one
    /// that was used least recently.
    pub fn handle_reclaim(&mut self, now: Instant) {
        if let Some(account) = &mut self.account {
            account.reclaims += 1;
            self.reclaim(now);
            self.dispatch(now);
            self.retire_idle_if_drained(now);
        }
    }

    /// The budget says that a store was dropped in another pool, whose memory the allocator may give
    /// to this one.
    pub fn handle_room(&mut self, now: Instant) {
        if let Some(account) = &mut self.account {
            account.rooms += 1;
        }
        self.raise_ceiling();
        self.dispatch(now);
        self.retire_idle_if_drained(now);
    }

    /// Says to the budget what has changed for it, if anything has, once all else is done.
    pub(in crate::pool) fn settle_account(&mut self) {
        let Some(account) = &self.account else { return };
        let (wanted, starved) = self.wanted_instances();
        let claim = Claim {
            revision: account.sent.revision,
            wanted,
            spares: self.wanted_spares(),
            idle: self.gauges.idle(),
            leaving: self.gauges.leaving(),
            starved,
            granted: account.granted,
            released: account.released + account.held as u64,
            dropped: account.dropped,
            reclaims: account.reclaims,
            rooms: account.rooms,
        };
        if claim == account.sent {
            return;
        }
        let claim = Claim { revision: claim.revision + 1, ..claim };
        let Some(account) = &mut self.account else { return };
        account.released = claim.released;
        account.held = 0;
        account.sent = claim;
        self.effects.push_back(Action::Claim(Box::new(claim)));
    }
}

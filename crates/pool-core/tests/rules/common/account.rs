//! The ledger's opinion on what a pool with a budget holds, and what it must have told the budget.

use millpond_pool_core::state::Claim;

use super::Rig;
use super::ledger::Ledger;

#[derive(Debug, Default)]
pub struct Account {
    pub granted: u64,
    /// Grants that have not become instances.
    pub held: u64,
    pub released: u64,
    /// Stores that are gone.
    pub dropped: u64,
    pub reclaims: u64,
    pub rooms: u64,
    pub newest: Claim,
    /// Those that have not been taken to a budget.
    pub sent: Vec<Claim>,
}

impl Ledger {
    /// An instance was started: on a grant, if there is a budget.
    pub fn spend_grant(&mut self) {
        if let Some(account) = &mut self.account {
            account.held = account.held.checked_sub(1).expect("a start without a grant");
        }
    }

    /// A store is gone: what it held in the allocator is free.
    pub fn store_gone(&mut self) {
        if let Some(account) = &mut self.account {
            account.dropped += 1;
        }
    }

    pub fn saw_claim(&mut self, claim: Claim) {
        let live = self.instances.len() as u64;
        let account = self.account.as_mut().expect("a pool with a budget");
        account.released += std::mem::take(&mut account.held);
        assert_eq!(claim.revision, account.newest.revision + 1, "claims are counted");
        assert_eq!(claim.granted - claim.released, live, "each live instance has its grant");
        account.newest = claim;
        account.sent.push(claim);
    }

    /// After all effects, the newest claim is about now.
    pub fn check_claim(&self) {
        let Some(account) = &self.account else { return };
        let claim = account.newest;
        assert_eq!(account.held, 0, "a grant that was not needed is kept");
        let totals = (claim.granted, claim.released, claim.reclaims, claim.rooms);
        let own = (account.granted, account.released, account.reclaims, account.rooms);
        assert_eq!(totals, own, "{claim:?}");
        assert_eq!(claim.dropped, account.dropped, "{claim:?}");
        let leaving = self.instances.values().filter(|instance| instance.retiring).count();
        assert_eq!((claim.idle, claim.leaving), (self.idle(), leaving), "{claim:?}");
        if self.vague {
            return;
        }
        let most = self.limits.max_instances.saturating_sub(self.instances.len());
        let quota = self.limits.max_requests.most().unwrap_or(u64::MAX);
        let quota = usize::try_from(quota).unwrap_or(usize::MAX);
        let seats = if self.starts_shared() { self.limits.concurrency.min(quota) } else { 1 };
        let wanted = self.missing_seats().div_ceil(seats).min(most);
        let fitting = wanted.min(self.fitting());
        assert_eq!((claim.wanted, claim.starved), (fitting, wanted - fitting), "{claim:?}");
        if !self.spares_wait() && !self.spares.rests {
            let spares = self.missing_spares().min(most).min(self.fitting());
            let waits = claim.spares == 0 && self.spares.not_before.is_some();
            assert!(claim.spares == spares || waits || !self.looked, "{claim:?}, {spares} spares");
        }
    }
}

impl Rig {
    /// The budget lets it start one.
    pub fn grant(&mut self) {
        let account = self.ledger.account.as_mut().expect("a pool with a budget");
        (account.granted, account.held) = (account.granted + 1, account.held + 1);
        self.pool.handle_grant(self.ledger.now);
        self.settle();
    }

    /// The budget asks for an idle one.
    pub fn reclaim(&mut self) {
        let idle = self.ledger.idle();
        let account = self.ledger.account.as_mut().expect("a pool with a budget");
        account.reclaims += 1;
        self.pool.handle_reclaim(self.ledger.now);
        self.settle();
        assert!(idle == 0 || self.ledger.idle() < idle, "nothing was given up of {idle}");
    }

    /// A store was dropped in another pool.
    pub fn room(&mut self) {
        self.ledger.may_fit();
        if let Some(account) = &mut self.ledger.account {
            account.rooms += 1;
        }
        self.pool.handle_room(self.ledger.now);
        self.settle();
    }
}

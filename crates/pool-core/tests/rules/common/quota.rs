//! The ledger's opinion on how instances are used: how many requests at a time, and how many at all.

use millpond_pool_core::{Limits, MaxRequests};

use super::ledger::Ledger;

impl Ledger {
    pub fn starts_shared(&self) -> bool {
        self.limits.concurrency > 1 && self.limits.max_requests.most() != Some(1)
    }

    /// How many requests an instance may serve, and whether that is all there is to know.
    pub fn quota(&self) -> (u64, bool) {
        let most = self.limits.max_requests.most();
        let exact = most.is_none_or(|most| self.limits.max_requests == MaxRequests::exactly(most));
        (most.unwrap_or(u64::MAX), exact)
    }

    /// What instances may serve is drawn anew.
    pub fn set_limits(&mut self, limits: Limits) {
        self.spares.rests = false;
        self.limits = limits;
        let (most, exact) = self.quota();
        for instance in self.instances.values_mut() {
            (instance.most, instance.exact) = (most, exact);
            self.vague |= !exact;
        }
    }
}

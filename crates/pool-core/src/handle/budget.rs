//! A budget behind a lock of its own, between pools behind theirs. Neither lock is ever taken while
//! the other is held: what one has to tell the other is told after its own lock is released.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::budget::{
    Budget, BudgetEffect, BudgetError, BudgetLimits, BudgetSnapshot, Claim, MemberId, Share,
};
use crate::sync::{Mutex, lock};

use super::{Driver, Inner, PoolHandle};

/// A limit on live instances, and on their memory, that several pools share. Clones are the same
/// budget. See [`Budget`] for how it is divided.
///
/// ```
/// use millpond_pool_core::{BudgetLimits, SharedBudget};
///
/// // Given to several pools when they are made.
/// let budget = SharedBudget::new(BudgetLimits::instances(100).memory(4 << 30));
/// assert_eq!(budget.snapshot().used(), 0);
///
/// budget.set_limits(BudgetLimits::instances(200)).unwrap();
/// ```
#[derive(Clone)]
pub struct SharedBudget(Arc<Mutex<State>>);

struct State {
    budget: Budget,
    members: BTreeMap<MemberId, Weak<dyn Member>>,
}

/// A pool, as its budget calls it.
trait Member: Send + Sync {
    fn granted(self: Arc<Self>);
    fn reclaim(self: Arc<Self>);
    fn room(self: Arc<Self>);
}

impl<D: Driver> Member for Inner<D> {
    fn granted(self: Arc<Self>) {
        PoolHandle(self).act(|pool, now| pool.handle_grant(now));
    }

    fn reclaim(self: Arc<Self>) {
        PoolHandle(self).act(|pool, now| pool.handle_reclaim(now));
    }

    fn room(self: Arc<Self>) {
        PoolHandle(self).act(|pool, now| pool.handle_room(now));
    }
}

/// A pool's place in a budget. Given back when dropped.
pub(super) struct Membership {
    budget: SharedBudget,
    id: MemberId,
}

impl SharedBudget {
    /// A budget without pools.
    pub fn new(limits: BudgetLimits) -> Self {
        let state = State { budget: Budget::new(limits), members: BTreeMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes the limits. Takes back nothing that runs: after a lowering, idle instances are
    /// reclaimed, and nothing is granted until there is room again.
    ///
    /// # Errors
    ///
    /// If the guarantees of the pools together are more than that.
    pub fn set_limits(&self, limits: BudgetLimits) -> Result<(), BudgetError> {
        self.act(|budget| budget.handle_limits(limits))
    }

    /// How it is divided, at this moment.
    pub fn snapshot(&self) -> BudgetSnapshot {
        lock(&self.0).budget.snapshot()
    }

    pub(super) fn join(&self, share: Share) -> Result<Membership, BudgetError> {
        let id = self.act(|budget| budget.handle_join(share))?;
        Ok(Membership { budget: self.clone(), id })
    }

    /// Changes the state, then tells the pools what follows from it.
    fn act<R>(&self, change: impl FnOnce(&mut Budget) -> R) -> R {
        let mut effects = Vec::new();
        let result = {
            let mut state = lock(&self.0);
            let result = change(&mut state.budget);
            while let Some(effect) = state.budget.poll_effect() {
                let member = state.members.get(&effect.member()).and_then(Weak::upgrade);
                // One that is gone leaves, and with it what it was granted.
                effects.extend(member.map(|member| (member, effect)));
            }
            result
        };
        for (member, effect) in effects {
            match effect {
                BudgetEffect::Grant { .. } => member.granted(),
                BudgetEffect::Reclaim { .. } => member.reclaim(),
                BudgetEffect::Room { .. } => member.room(),
            }
        }
        result
    }
}

impl Membership {
    /// From here on the pool can be reached.
    pub(super) fn enter<D: Driver>(&self, pool: &Arc<Inner<D>>) {
        let pool: Weak<Inner<D>> = Arc::downgrade(pool);
        lock(&self.budget.0).members.insert(self.id, pool);
    }

    pub(super) fn claim(&self, claim: Claim) {
        self.budget.act(|budget| budget.handle_claim(self.id, claim));
    }

    pub(super) fn share(&self, share: Share) -> Result<(), BudgetError> {
        self.budget.act(|budget| budget.handle_share(self.id, share))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let member = lock(&self.budget.0).members.remove(&self.id);
        drop(member);
        self.budget.act(|budget| budget.handle_leave(self.id));
    }
}

impl fmt::Debug for SharedBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedBudget").field(&self.snapshot()).finish()
    }
}

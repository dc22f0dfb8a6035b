//! A budget that pools share, and a count of what lives in all of them together.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use millpond_pool_core::{BudgetLimits, Limits, PoolHandle, Share, SharedBudget};

use super::{Host, Pool};
use crate::mode::AtomicU64;

/// A budget. Counting is a step of the model: else loom would not try those orders of which only the
/// count is another.
#[derive(Clone)]
pub(crate) struct BudgetFixture {
    budget: SharedBudget,
    stores: Arc<Stores>,
}

struct Stores {
    live: AtomicU64,
    /// As many as the budget ever had room for.
    most: AtomicU64,
}

impl BudgetFixture {
    pub(crate) fn new(instances: usize) -> Self {
        let stores = Stores { live: AtomicU64::new(0), most: AtomicU64::new(instances as u64) };
        let budget = SharedBudget::new(BudgetLimits::instances(instances));
        Self { budget, stores: Arc::new(stores) }
    }

    /// A pool that is guaranteed nothing. Its reaper is never run.
    pub(crate) fn pool(&self, limits: Limits) -> Pool {
        self.pool_with(limits, 0)
    }

    /// One that is guaranteed so many instances.
    pub(crate) fn pool_with(&self, limits: Limits, guaranteed: usize) -> Pool {
        self.admit(Host::new(limits), guaranteed)
    }

    /// One with this host.
    pub(crate) fn admit(&self, mut host: Host, guaranteed: usize) -> Pool {
        let limits = host.limits.clone();
        host.fixture = Some(self.clone());
        let mut share = Share::default();
        share.guaranteed = guaranteed;
        PoolHandle::with_budget(host, limits, 0, &self.budget, share).expect("there is room")
    }

    /// Another limit.
    pub(crate) fn resize(&self, instances: usize) {
        self.stores.most.fetch_max(instances as u64, SeqCst);
        self.budget.set_limits(BudgetLimits::instances(instances)).expect("not below guarantees");
    }

    pub(crate) fn used(&self) -> usize {
        self.budget.snapshot().used()
    }

    /// Nothing happens any more, and these are its pools: all they have is idle, and the budget knows
    /// it.
    pub(crate) fn check_quiet(&self, pools: &[&Pool]) {
        let idle: Vec<_> = pools.iter().map(|pool| pool.snapshot().instances.idle).collect();
        let snapshot = self.budget.snapshot();
        let known: Vec<_> = snapshot.members.iter().map(|member| member.idle).collect();
        let used: Vec<_> = snapshot.members.iter().map(|member| member.used).collect();
        assert_eq!((&known, &used), (&idle, &idle), "{snapshot:?}");
        assert!(snapshot.members.iter().all(|member| member.wanted == 0), "{snapshot:?}");
        assert!(snapshot.used() <= snapshot.limits.max_instances, "{snapshot:?}");
        assert_eq!(self.stores.live.load(SeqCst), snapshot.used() as u64, "{snapshot:?}");
    }
}

/// The store of an instance. It ends with the instance at the latest: a driver may leave it to that.
#[derive(Default)]
pub(crate) struct Store(Mutex<Option<Place>>);

struct Place(Arc<Stores>);

impl Store {
    pub(super) fn make(&self, fixture: Option<&BudgetFixture>) {
        let Some(BudgetFixture { stores, .. }) = fixture else { return };
        let live = stores.live.fetch_add(1, SeqCst) + 1;
        assert!(live <= stores.most.load(SeqCst), "{live} live instances are more than the budget");
        *self.0.lock().unwrap() = Some(Place(Arc::clone(stores)));
    }

    pub(super) fn unmake(&self) {
        let place = self.0.lock().unwrap().take();
        drop(place);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, SeqCst);
    }
}

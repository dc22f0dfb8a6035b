//! One pool with all that belongs to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_pool_core::expiration::Signal;
use millpond_pool_core::state::{Permit, Pool};
use millpond_pool_core::{InstanceId, MemberId};

use super::host::Host;
use crate::agenda::Time;
use crate::check::{self, Check};
use crate::item::Item;
use crate::model::Model;
use crate::policy::Woken;
use crate::scenario::PoolPlan;

pub(super) struct Side {
    pub(super) pool: Pool<Item>,
    pub(super) model: Model,
    pub(super) checks: Vec<Box<dyn Check>>,
    /// Its instances, as their driver knows them.
    pub(super) hosts: BTreeMap<InstanceId, Host>,
    pub(super) permits: Vec<Permit>,
    pub(super) signal: Signal,
    pub(super) woken: Arc<Woken>,
    pub(super) member: Option<MemberId>,
    /// The reaper's next look at the clock, and its number: an older one is not looked at.
    pub(super) look_at: Option<Time>,
    pub(super) look: u64,
    looked: (Time, usize),
    steps: usize,
}

impl Side {
    pub(super) fn new(plan: &PoolPlan, seed: u64, member: Option<MemberId>) -> Self {
        let pool = Pool::new(plan.limits.clone(), seed);
        Self {
            pool: if member.is_some() { pool.with_budget() } else { pool },
            model: Model::new(plan.limits.clone(), plan.quota, member.is_some()),
            checks: check::all(),
            hosts: BTreeMap::new(),
            permits: Vec::new(),
            signal: Signal::new(),
            woken: Arc::default(),
            member,
            look_at: None,
            look: 0,
            looked: (0, 0),
            steps: 0,
        }
    }

    /// A recount takes time in proportion to what there is: it is made the more seldom, the more there
    /// is.
    pub(super) fn is_time_to_count(&mut self) -> bool {
        self.steps += 1;
        let due = self.steps * 16 > self.model.requests.len() + self.model.live();
        if due {
            self.steps = 0;
        }
        due
    }

    /// How many looks there were at this instant.
    pub(super) fn count_look(&mut self, now: Time) -> usize {
        let (at, count) = self.looked;
        self.looked = if at == now { (at, count + 1) } else { (now, 1) };
        self.looked.1
    }
}

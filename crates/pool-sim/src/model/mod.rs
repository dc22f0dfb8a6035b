//! What can be known of a pool from outside: which requests wait, which run where, which instances live.
//!
//! Kept from the records alone. Each record is applied once, in the order in which things went in and
//! came out; one that cannot be (a second outcome, an effect on something that is not there) is a
//! violation of conservation. The checkers read the model as it was *before* each record.

mod apply;
mod deadlines;
mod instance;
mod reports;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use millpond_pool_core::state::Claim;
use millpond_pool_core::{InstanceId, Limits, RequestId};

pub(crate) use instance::{Instance, Phase, Settling};
pub(crate) use request::{Place, Request};

use crate::agenda::Time;
use crate::record::Spread;

/// The model of one pool.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) limits: Limits,
    pub(crate) quota: Spread,
    pub(crate) requests: BTreeMap<RequestId, Request>,
    pub(crate) queue: BTreeSet<RequestId>,
    /// When something must happen to a request, and to a start.
    pub(crate) deadlines: BTreeSet<(Time, RequestId)>,
    pub(crate) starts: BTreeSet<(Time, InstanceId)>,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    /// Whose end was reported in this step: it no longer counts, but effects still name it.
    pub(crate) going: Option<(InstanceId, Instance)>,
    pub(crate) reserved: usize,
    pub(crate) submitted: u64,
    pub(crate) outcomes: Outcomes,
    /// Items that the pool must let go of in this step.
    pub(crate) discards: usize,
    /// Instances that must be reported gone in this step.
    pub(crate) gone: usize,
    pub(crate) draining: bool,
    pub(crate) stopped: bool,
    pub(crate) has_budget: bool,
    /// Of a pool with a budget: what it was granted so far, and its newest claim.
    pub(crate) granted: u64,
    pub(crate) claim: Option<Claim>,
    pub(crate) leaving: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) responded: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) cancelled: u64,
}

impl Model {
    pub(crate) fn new(limits: Limits, quota: Spread, has_budget: bool) -> Self {
        Self {
            limits,
            quota,
            requests: BTreeMap::new(),
            queue: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            starts: BTreeSet::new(),
            instances: BTreeMap::new(),
            going: None,
            reserved: 0,
            submitted: 0,
            outcomes: Outcomes::default(),
            discards: 0,
            gone: 0,
            draining: false,
            stopped: false,
            has_budget,
            granted: 0,
            claim: None,
            leaving: 0,
        }
    }

    /// Live instances: from the start until the end was reported.
    pub(crate) fn live(&self) -> usize {
        self.instances.len()
    }

    /// Requests that are not in the queue and not over.
    pub(crate) fn running(&self) -> usize {
        self.requests.len() - self.queue.len()
    }

    /// Requests that wait and that `max_running` lets run.
    pub(crate) fn wanting(&self) -> usize {
        let most = self.limits.max_running.unwrap_or(usize::MAX);
        self.queue.len().min(most.saturating_sub(self.running()))
    }

    pub(crate) fn place(&self, request_id: RequestId) -> Option<Place> {
        self.requests.get(&request_id).map(|request| request.place)
    }

    pub(crate) fn instance(&self, id: InstanceId) -> Option<&Instance> {
        let going = self.going.as_ref().filter(|(gone, _)| *gone == id).map(|(_, gone)| gone);
        self.instances.get(&id).or(going)
    }

    fn instance_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        let going = self.going.as_mut().filter(|(gone, _)| *gone == id).map(|(_, gone)| gone);
        self.instances.get_mut(&id).or(going)
    }

    pub(crate) fn permits_free(&self) -> usize {
        let limits = &self.limits;
        let seats = limits.max_instances.saturating_mul(limits.concurrency.max(1));
        let seats = seats.min(limits.max_running.unwrap_or(usize::MAX));
        let taken = self.reserved + self.requests.len();
        let free = seats.saturating_add(limits.max_queue).saturating_sub(taken);
        if self.draining { 0 } else { free }
    }

    /// Neither its guest nor a lease holds requests back.
    pub(crate) fn takes_more(&self, instance: &Instance) -> bool {
        let pinned = |request_id| matches!(self.place(request_id), Some(Place::Pinned(_)));
        !instance.backpressure && !instance.requests.iter().copied().any(pinned)
    }

    /// The most seats that an instance can still have, as things are.
    pub(crate) fn seats_left(&self, instance: &Instance) -> usize {
        let left = if instance.shared {
            self.limits.concurrency.max(1).saturating_sub(instance.requests.len())
        } else {
            usize::from(instance.requests.is_empty() && !instance.working)
        };
        let quota = self.quota.quota(instance.random.unwrap_or(0.0));
        left.min(usize::try_from(quota.saturating_sub(instance.given)).unwrap_or(usize::MAX))
    }

    /// Seats that will be there soon, at most: of starts not tied to a request, and of those that settle.
    pub(crate) fn coming(&self) -> usize {
        let soon = self.instances.values().filter(|instance| match instance.phase {
            Phase::Starting => instance.shared || instance.ahead,
            Phase::Open => self.takes_more(instance) && instance.settling.is_some_and(|s| !s.over),
            Phase::Closing | Phase::Retiring => false,
        });
        soon.map(|instance| self.seats_left(instance)).fold(0, usize::saturating_add)
    }
}

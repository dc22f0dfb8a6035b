//! Closing: who was told to end, timed out or broke is given nothing more, and goes once it may.

use std::task::Poll;

use millpond_pool_core::InstanceId;
use millpond_pool_core::expiration::Expired;

use super::{Check, Checked, Step, hold};
use crate::agenda::Time;
use crate::model::{Model, Phase};
use crate::record::{Event, Record};

#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Must be retired by the end of the step.
    must_go: Option<InstanceId>,
    /// Was judged on an old view: that must not count.
    must_stay: Option<InstanceId>,
}

impl Check for Closing {
    fn name(&self) -> &'static str {
        "closing"
    }

    fn record(&mut self, model: &Model, _: Time, record: &Record) -> Checked {
        match *record {
            Record::Assign(id, request_id) => {
                let Some(to) = model.instances.get(&id) else { return Ok(()) };
                hold!(
                    to.phase == Phase::Open,
                    "{request_id} is given to {id}, which is {:?}",
                    to.phase
                );
                hold!(!to.backpressure, "{request_id} is given to {id} against its backpressure");
                hold!(to.settling.is_none(), "{request_id} is given to {id}, which computes");
            }
            Record::Event(id, Event::Broken(_)) => self.must_go = Some(id),
            Record::Verdict(id, revision, Poll::Ready(Expired::Retire(_))) => {
                let newest = model.instances.get(&id).filter(|instance| instance.is_live());
                let applies = newest.is_some_and(|i| i.revision == Some(revision));
                self.must_go = applies.then_some(id);
                self.must_stay = (!applies).then_some(id);
            }
            Record::Retire(id, reason) => {
                let stays = self.must_stay == Some(id);
                hold!(!stays, "{id} ends ({reason}) by a verdict on an old view");
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, model: &Model, step: &Step<'_>) -> Checked {
        self.must_stay = None;
        if let Some(id) = self.must_go.take() {
            let goes = model.instances.get(&id).is_none_or(|i| i.phase == Phase::Retiring);
            hold!(goes, "{id} lives on after {:?}", step.input);
        }
        let limits = &model.limits;
        let too_many = model.live() - model.leaving > limits.max_instances;
        for (id, instance) in model.instances.iter().filter(|(_, instance)| instance.is_live()) {
            let quiet = instance.is_quiet();
            if instance.phase == Phase::Closing {
                hold!(!quiet, "{id} is closed, has nothing to do, and does not end");
                let overdue = |request_id| model.requests[request_id].overdue;
                let given_up = instance.requests.iter().all(overdue);
                let busy = instance.requests.is_empty() || !given_up;
                hold!(busy, "all on {id} are overdue, and it does not end");
            } else if quiet {
                hold!(!too_many, "{id} is idle beyond the limit, and does not end");
                let over = instance.random.is_some_and(|d| instance.given >= model.quota.quota(d));
                hold!(!over, "{id} has served all it may, and does not end");
                let drained = model.draining && model.queue.is_empty();
                hold!(!drained, "{id} is idle in a drain, and does not end");
                let stuck = instance.backpressure && instance.given > 0;
                hold!(!stuck, "{id} takes nothing and does nothing, and does not end");
            }
        }
        Ok(())
    }
}

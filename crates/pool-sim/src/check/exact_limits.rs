//! Exact limits: never more instances, requests on one, requests in all, or permits than allowed at
//! the moment at which one more is taken.

use std::collections::BTreeSet;
use std::task::Poll;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{InstanceId, Mode, Reason};

use super::{Check, Checked, Step, hold};
use crate::agenda::Time;
use crate::model::Model;
use crate::record::Record;

#[derive(Debug, Default)]
pub(super) struct ExactLimits {
    /// Whose policies said that they have served enough: that is not the limit's doing.
    told: BTreeSet<InstanceId>,
}

impl Check for ExactLimits {
    fn name(&self) -> &'static str {
        "exact-limits"
    }

    fn record(&mut self, model: &Model, _: Time, record: &Record) -> Checked {
        let limits = &model.limits;
        match *record {
            Record::Start(id, mode, request) => {
                let (live, most) = (model.live(), limits.max_instances);
                hold!(live < most, "{id} is started beside {live} of at most {most}");
                let shared = limits.concurrency > 1 && model.quota.most != Some(1);
                hold!((mode == Mode::Shared) == shared, "{id} is started as {mode:?}");
                hold!(!model.stopped, "{id} is started in a stopped pool");
                if request.is_some() {
                    running(model)?;
                }
                if model.has_budget {
                    let released = model.claim.map_or(0, |claim| claim.released);
                    let held = model.granted.saturating_sub(released);
                    hold!((live as u64) < held, "{id} is started without a grant");
                }
            }
            Record::Assign(id, _) => {
                running(model)?;
                let Some(to) = model.instances.get(&id) else { return Ok(()) };
                let (on, most) = (to.requests.len(), limits.concurrency.max(1));
                if to.shared {
                    hold!(on < most, "{id} is given one more than {on} of at most {most}");
                } else {
                    hold!(to.is_quiet(), "{id} is exclusive and not free");
                }
                let quota = model.quota.quota(to.random.unwrap_or(0.0));
                hold!(to.given < quota, "{id} has served {} of at most {quota}", to.given);
            }
            Record::Reserve(Ok(())) => {
                hold!(model.permits_free() > 0, "a permit is given though there is none");
            }
            Record::Reserve(Err(refusal)) => {
                let none = model.permits_free() == 0;
                hold!(none, "there are permits, and none is given: {refusal}");
            }
            Record::Verdict(
                id,
                _,
                Poll::Ready(Expired::Drain(Reason::Requests) | Expired::Retire(Reason::Requests)),
            ) => {
                self.told.insert(id);
            }
            Record::Retire(id, Reason::Requests) if !self.told.remove(&id) => {
                let Some(instance) = model.instance(id) else { return Ok(()) };
                let quota = model.quota.quota(instance.random.unwrap_or(0.0));
                let given = instance.given;
                hold!(given >= quota, "{id} ends after {given} requests, and may serve {quota}");
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, model: &Model, _: &Step<'_>) -> Checked {
        if let Some(claim) = model.claim {
            let (granted, live) = (model.granted, model.live());
            hold!(claim.granted == granted, "{granted} grants came, {} are claimed", claim.granted);
            let kept = claim.granted.checked_sub(claim.released);
            hold!(kept == Some(live as u64), "{kept:?} grants are kept for {live} instances");
        }
        Ok(())
    }
}

fn running(model: &Model) -> Checked {
    let (running, most) = (model.running(), model.limits.max_running.unwrap_or(usize::MAX));
    hold!(running < most, "one more is handed over beside {running} of at most {most}");
    Ok(())
}

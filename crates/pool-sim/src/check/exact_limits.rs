//! Exact limits: never more instances, requests on one, requests in all, or permits than allowed at
//! the moment at which one more is taken.

use std::collections::BTreeSet;
use std::task::Poll;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{InstanceId, Mode, Reason};

use super::{Check, Checked, Step, hold};
use crate::agenda::Time;
use crate::books::Books;
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

    fn record(&mut self, books: &Books, _: Time, record: &Record) -> Checked {
        let limits = &books.limits;
        match *record {
            Record::Start(id, mode, request) => {
                let (live, most) = (books.live(), limits.max_instances);
                hold!(live < most, "{id} is started beside {live} of at most {most}");
                let shared = limits.concurrency > 1 && books.quota.most != Some(1);
                hold!((mode == Mode::Shared) == shared, "{id} is started as {mode:?}");
                hold!(!books.stopped, "{id} is started in a stopped pool");
                if request.is_some() {
                    running(books)?;
                }
                if books.has_budget {
                    let released = books.claim.map_or(0, |claim| claim.released);
                    let held = books.granted.saturating_sub(released);
                    hold!((live as u64) < held, "{id} is started without a grant");
                }
            }
            Record::Assign(id, _) => {
                running(books)?;
                let Some(to) = books.instances.get(&id) else { return Ok(()) };
                let (on, most) = (to.requests.len(), limits.concurrency.max(1));
                if to.shared {
                    hold!(on < most, "{id} is given one more than {on} of at most {most}");
                } else {
                    hold!(to.is_quiet(), "{id} is exclusive and not free");
                }
                let quota = books.quota.quota(to.draw.unwrap_or(0.0));
                hold!(to.given < quota, "{id} has served {} of at most {quota}", to.given);
            }
            Record::Reserve(Ok(())) => {
                hold!(books.permits_free() > 0, "a permit is given though there is none");
            }
            Record::Reserve(Err(refusal)) => {
                let none = books.permits_free() == 0;
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
                let Some(instance) = books.instance(id) else { return Ok(()) };
                let quota = books.quota.quota(instance.draw.unwrap_or(0.0));
                let given = instance.given;
                hold!(given >= quota, "{id} ends after {given} requests, and may serve {quota}");
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, books: &Books, _: &Step<'_>) -> Checked {
        if let Some(claim) = books.claim {
            let (granted, live) = (books.granted, books.live());
            hold!(claim.granted == granted, "{granted} grants came, {} are claimed", claim.granted);
            let kept = claim.granted.checked_sub(claim.released);
            hold!(kept == Some(live as u64), "{kept:?} grants are kept for {live} instances");
        }
        Ok(())
    }
}

fn running(books: &Books) -> Checked {
    let (running, most) = (books.running(), books.limits.max_running.unwrap_or(usize::MAX));
    hold!(running < most, "one more is handed over beside {running} of at most {most}");
    Ok(())
}

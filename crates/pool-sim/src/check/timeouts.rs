//! Timeouts: whatever is due is done at the time at which the pool asks to look at the clock, not
//! earlier, and it asks in time.

use millpond_pool_core::{Failure, Refusal};

use super::{Check, Checked, Step, hold};
use crate::agenda::Time;
use crate::model::{Model, Phase};
use crate::record::Record;

#[derive(Debug)]
pub(super) struct Timeouts;

impl Check for Timeouts {
    fn name(&self) -> &'static str {
        "timeouts"
    }

    fn record(&mut self, model: &Model, at: Time, record: &Record) -> Checked {
        let due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= at);
        match *record {
            Record::Refuse(
                request_id,
                Refusal::QueueTimeout | Refusal::Exhausted | Refusal::BudgetExhausted,
            )
            | Record::Fail(_, request_id, Failure::RequestTimeout) => {
                let deadline = model.requests.get(&request_id).and_then(|request| request.deadline);
                hold!(due(deadline), "{request_id} timed out, and was due at {deadline:?}");
            }
            Record::Fail(id, request_id, Failure::StartTimeout) => {
                let deadline = model.instances.get(&id).and_then(|instance| instance.deadline);
                hold!(
                    due(deadline),
                    "{id} for {request_id} timed out, and was due at {deadline:?}"
                );
            }
            Record::Refuse(request_id, Refusal::StartTimeout) => {
                let first = model.starts.first().map(|(deadline, _)| *deadline);
                hold!(due(first), "no start has timed out, and {request_id} is refused for that");
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, model: &Model, step: &Step<'_>) -> Checked {
        let request =
            model.deadlines.first().map(|(at, request_id)| (*at, format!("{request_id:?}")));
        let start = model.starts.first().map(|(at, id)| (*at, format!("{id:?}")));
        let first = request.into_iter().chain(start).chain(settling(model)).min();
        let Some((due, what)) = first else { return Ok(()) };
        if let Record::Timeout = step.input {
            // What was begun in this very step may have no time at all.
            let limits = &model.limits;
            let at_once = limits.start_timeout.is_zero() || limits.request_timeout.is_zero();
            let done = due > step.at || at_once && due == step.at;
            hold!(done, "{what} was due at {due}, and the clock was looked at");
        }
        let asked = step.timeout.is_some_and(|timeout| timeout <= due);
        hold!(asked, "{what} is due at {due}, and the pool wants to look at {:?}", step.timeout);
        Ok(())
    }
}

/// The first to have computed for too long.
fn settling(model: &Model) -> Option<(Time, String)> {
    if model.queue.is_empty() {
        return None;
    }
    let live = model.instances.iter().filter(|(_, i)| i.is_live() && i.phase == Phase::Open);
    let until = live.filter_map(|(id, instance)| {
        let settling = instance.settling.filter(|settling| !settling.over)?;
        Some((settling.until?, *id))
    });
    until.min().map(|(at, id)| (at, format!("{id:?} settling")))
}

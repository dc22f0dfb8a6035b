//! Blast radius: a failed start refuses one request at most, and a request that no guest has seen is
//! not lost with the instance that had it.

use millpond_pool_core::{Failure, InstanceId, Refusal, RequestId};

use super::{Check, Checked, Step, hold};
use crate::agenda::Time;
use crate::model::{Model, Phase};
use crate::record::{Event, Record};

#[derive(Debug, Default)]
pub(super) struct BlastRadius {
    step: Happened,
    /// Some start found the allocator full.
    was_full: bool,
}

#[derive(Debug, Default)]
struct Happened {
    /// Starts that failed or were given up.
    failed: usize,
    /// Requests refused or told off for that.
    refused: usize,
    /// Starts that were given up and may still tell: their retirement follows.
    start_failed: Option<InstanceId>,
    clock: bool,
    /// Came back, and must be served or wait.
    came_back: Option<RequestId>,
}

impl Check for BlastRadius {
    fn name(&self) -> &'static str {
        "blast-radius"
    }

    fn record(&mut self, model: &Model, _: Time, record: &Record) -> Checked {
        let starting =
            |id| model.instance(id).is_some_and(|instance| instance.phase == Phase::Starting);
        let step = &mut self.step;
        match *record {
            Record::Timeout => step.clock = true,
            Record::Event(id, Event::StartFailed) if starting(id) => {
                step.failed += 1;
                step.start_failed = Some(id);
                // Of an exclusive start, the driver has told the caller.
                step.refused += model.instance(id).map_or(0, |i| i.requests.len());
            }
            // It vanished while it started.
            Record::Event(id, Event::Dropped) if starting(id) => {
                step.failed += 1;
                step.start_failed = Some(id);
            }
            Record::Event(_, Event::Exhausted(request)) => {
                self.was_full = true;
                step.came_back =
                    request.filter(|request_id| model.requests.contains_key(request_id));
            }
            Record::Event(id, Event::Returned(request_id)) => {
                let here = model.place(request_id).and_then(|place| place.on()) == Some(id);
                let told = model
                    .requests
                    .get(&request_id)
                    .is_some_and(|r| matches!(r.place, crate::model::Place::Abandoned(_)));
                step.came_back = (here && !told).then_some(request_id);
            }
            Record::Retire(id, _) if starting(id) && step.clock => step.failed += 1,
            Record::Refuse(request_id, refusal) => {
                hold!(
                    model.may_refuse(refusal),
                    "{request_id} is refused ({refusal}) without cause"
                );
                match refusal {
                    Refusal::StartFailed => {
                        hold!(
                            step.start_failed.is_some(),
                            "no start failed, {request_id} is refused"
                        );
                        step.refused += 1;
                    }
                    Refusal::StartTimeout => step.refused += 1,
                    Refusal::Exhausted => {
                        hold!(self.was_full, "{request_id} is refused, and nothing was ever full");
                    }
                    Refusal::BudgetExhausted => {
                        hold!(
                            model.has_budget,
                            "{request_id} is refused for a budget there is not"
                        );
                    }
                    _ => {}
                }
                let back = step.came_back == Some(request_id) && !model.stopped;
                hold!(!back, "{request_id} came back unseen and is refused: {refusal}");
            }
            Record::Fail(_, request_id, failure) => {
                step.refused += usize::from(failure == Failure::StartTimeout);
                hold!(
                    step.came_back != Some(request_id),
                    "{request_id} came back unseen and failed"
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, model: &Model, _: &Step<'_>) -> Checked {
        let step = std::mem::take(&mut self.step);
        let (failed, refused) = (step.failed, step.refused);
        hold!(
            refused <= failed,
            "{failed} starts came to nothing, {refused} requests were refused"
        );
        if let Some(request_id) = step.came_back {
            let known = model.requests.contains_key(&request_id) || model.stopped;
            hold!(known, "{request_id} came back unseen and is lost");
        }
        Ok(())
    }
}

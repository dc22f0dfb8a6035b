//! Spares: never more unused ones than asked for, and one that comes to nothing is not tried again at
//! once.

use millpond_pool_core::{InstanceId, Reason};

use super::{Check, Checked, Step, hold};
use crate::agenda::{MILLI, SECOND, Time};
use crate::model::{Instance, Model, Phase};
use crate::record::{Event, Record};

/// What the pool promises to wait at least, at first and in the end.
const FIRST_WAIT: Time = 100 * MILLI;
const LONGEST_WAIT: Time = 10 * SECOND;
const RECLAIMED_WAIT: Time = SECOND;

#[derive(Debug, Default)]
pub(super) struct SpareLimits {
    /// How long the last wait was; it grows with each failure until one is of use.
    wait: Time,
    not_before: Time,
    /// Whether a spare may have been used that was not known for one: then no more than the first wait
    /// can be expected.
    vague: bool,
    /// The latest time seen: what was due then stays due though the clock may step back a little.
    latest: Time,
}

impl Check for SpareLimits {
    fn name(&self) -> &'static str {
        "spares"
    }

    fn record(&mut self, model: &Model, at: Time, record: &Record) -> Checked {
        self.latest = self.latest.max(at);
        match *record {
            Record::Start(id, _, None) if is_spare_start(model, record) => {
                let unused = model.instances.values().filter(|i| counts(i)).count();
                let most = model.limits.min_idle;
                hold!(unused < most, "spare {id} is started beside {unused} of at most {most}");
                let early = self.not_before > self.latest;
                hold!(!early, "spare {id} is started before {}", self.not_before);
                hold!(!model.draining, "spare {id} is started in a drain");
            }
            // A shared one may be a spare that could not be told from others before its first poll.
            Record::Assign(id, _) if model.instance(id).is_some_and(|i| i.given == 0) => {
                self.wait = 0;
                self.vague |= !model.instance(id).is_some_and(is_unused);
            }
            // Of another module than the next one, it says nothing of that.
            Record::Retire(_, Reason::Swap) => {}
            Record::Retire(id, reason) if model.instance(id).is_some_and(is_unused) => {
                self.failed(model, id, at, reason);
            }
            Record::Event(id, Event::StartFailed | Event::Exhausted(_)) => {
                let instance = model.instances.get(&id);
                if instance.is_some_and(|i| is_unused(i) && i.phase == Phase::Starting) {
                    self.failed(model, id, at, Reason::Host);
                }
            }
            // It vanished.
            Record::Event(id, Event::Dropped) => {
                let instance = model.instances.get(&id);
                let retired = |i: &Instance| matches!(i.phase, Phase::Retiring);
                if instance.is_some_and(|i| is_unused(i) && !retired(i)) {
                    self.failed(model, id, at, Reason::Host);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, model: &Model, step: &Step<'_>) -> Checked {
        let Some(snapshot) = step.snapshot else { return Ok(()) };
        let ready = |i: &&Instance| {
            is_unused(i)
                && i.phase == Phase::Open
                && !i.backpressure
                && i.is_quiet()
                && i.settling.is_none()
        };
        let ready = || model.instances.values().filter(ready);
        let unused = ready().count();
        hold!(
            snapshot.spares == unused,
            "the pool counts {} spares, not {unused}",
            snapshot.spares
        );
        if let Record::Limits(limits, _) = step.input {
            let (unused, most) =
                (ready().filter(|i| i.settling.is_none()).count(), limits.min_idle);
            hold!(unused <= most, "{unused} spares are kept of at most {most}");
        }
        Ok(())
    }
}

impl SpareLimits {
    /// Those that were started together fail together: that counts as one failure. It is none if there
    /// are enough without it.
    fn failed(&mut self, model: &Model, id: InstanceId, at: Time, reason: Reason) {
        let others = model.instances.iter().filter(|(other, _)| **other != id);
        let there = others.filter(|(_, i)| {
            let idle = i.phase == Phase::Open && i.is_quiet();
            // A shared one may be a spare that cannot be told from others before its first poll.
            idle || (i.phase == Phase::Starting && (i.spare || i.shared))
        });
        if there.count() >= model.limits.min_idle {
            return;
        }
        if reason == Reason::Pressure {
            self.not_before = self.not_before.max(at + RECLAIMED_WAIT);
            return;
        }
        if self.not_before <= at && !self.vague {
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
        }
        self.wait = self.wait.max(FIRST_WAIT);
        self.not_before = self.not_before.max(at + self.wait);
    }
}

/// Returns whether a start without a request is certainly a spare's: every waiting request has a seat to
/// come.
fn is_spare_start(model: &Model, record: &Record) -> bool {
    model.starts_ahead(record)
}

fn is_unused(instance: &Instance) -> bool {
    instance.spare && instance.given == 0
}

/// Unused, and of use to the next request.
fn counts(instance: &Instance) -> bool {
    is_unused(instance)
        && !instance.backpressure
        && matches!(instance.phase, Phase::Starting | Phase::Open)
}

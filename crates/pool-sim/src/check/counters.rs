//! Counters and histograms: each thing that happened is counted once, with its time.

use std::time::Duration;

use millpond_pool_core::{Histogram, InstanceId, Reason, RequestId};

use super::{Check, Checked, Step, same};
use crate::agenda::Time;
use crate::model::{Model, Phase, Place};
use crate::record::{Event, Record};

#[derive(Debug, Default)]
pub(super) struct Counters {
    overloaded: u64,
    starts: u64,
    failed_starts: u64,
    retired: [u64; Reason::ALL.len()],
    queue_wait: Times,
    start_time: Times,
    run_time: Times,
}

#[derive(Debug, Default)]
struct Times {
    count: u64,
    sum: u128,
    /// Of those up to a hundred milliseconds, to see that they go into the right bucket.
    short: u64,
}

const SHORT: Duration = Duration::from_millis(100);

impl Check for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn record(&mut self, model: &Model, at: Time, record: &Record) -> Checked {
        match *record {
            Record::Overloaded => self.overloaded += 1,
            Record::Start(..) => self.starts += 1,
            Record::Assign(_, request_id) => {
                if let Some(request) = model.requests.get(&request_id) {
                    self.queue_wait.add(at, request.submitted);
                }
            }
            Record::Retire(id, reason) => {
                let starting = model.instance(id).is_some_and(|i| i.phase == Phase::Starting);
                self.failed_starts += u64::from(starting);
                self.retired[reason as usize] += 1;
            }
            Record::Cancel(request_id, _) => {
                let exclusive = |id| model.instance(id).is_some_and(|instance| !instance.shared);
                match model.place(request_id) {
                    Some(Place::Streaming(_)) => self.ran(model, at, request_id),
                    Some(Place::Busy(id) | Place::Pinned(id)) if exclusive(id) => {
                        self.ran(model, at, request_id)
                    }
                    _ => {}
                }
            }
            Record::Responded(request_id, false) => {
                if let Some(Place::Abandoned(_)) = model.place(request_id) {
                    self.ran(model, at, request_id);
                }
            }
            Record::Event(id, event) => self.event(model, at, id, event),
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, _: &Model, step: &Step<'_>) -> Checked {
        let Some(snapshot) = step.snapshot else { return Ok(()) };
        same("overloaded", snapshot.overloaded, self.overloaded)?;
        same("starts", snapshot.starts, self.starts)?;
        same("failed starts", snapshot.failed_starts, self.failed_starts)?;
        for (reason, count) in snapshot.retired.iter() {
            same(reason.as_str(), count, self.retired[reason as usize])?;
        }
        self.queue_wait.compare("queue_wait", &snapshot.queue_wait)?;
        self.start_time.compare("start_time", &snapshot.start_time)?;
        self.run_time.compare("run_time", &snapshot.run_time)
    }
}

impl Counters {
    fn event(&mut self, model: &Model, at: Time, id: InstanceId, event: Event) {
        let Some(instance) = model.instances.get(&id) else { return };
        match event {
            Event::Started if instance.phase == Phase::Starting => {
                self.start_time.add(at, instance.started);
                for request_id in &instance.requests {
                    let request = &model.requests[request_id];
                    self.queue_wait.add(request.left, request.submitted);
                }
            }
            Event::Failed(request_id)
                if model.place(request_id).and_then(Place::on) == Some(id) =>
            {
                self.ran(model, at, request_id);
            }
            Event::Ended(request_id) if model.place(request_id) == Some(Place::Streaming(id)) => {
                self.ran(model, at, request_id);
            }
            Event::StartFailed | Event::Exhausted(_) | Event::Dropped => {
                for request_id in &instance.requests {
                    self.ran(model, at, *request_id);
                }
                // Of one that was not retired, and is not going to be.
                if event != Event::Dropped && instance.phase != Phase::Retiring {
                    self.failed_starts += 1;
                    self.retired[Reason::Host as usize] += 1;
                }
            }
            _ => {}
        }
    }

    /// A request that was handed over leaves its instance.
    fn ran(&mut self, model: &Model, at: Time, request_id: RequestId) {
        let Some(request) = model.requests.get(&request_id) else { return };
        if !matches!(request.place, Place::Queued | Place::Starting(_)) {
            self.run_time.add(at, request.handed);
        }
    }
}

impl Times {
    fn add(&mut self, until: Time, since: Time) {
        let time = until.saturating_sub(since);
        self.count += 1;
        self.sum += u128::from(time);
        self.short += u64::from(u128::from(time) <= SHORT.as_nanos());
    }

    fn compare(&self, name: &str, histogram: &Histogram) -> Checked {
        same(name, histogram.count(), self.count)?;
        same(name, histogram.sum().as_nanos(), self.sum)?;
        let short = histogram.buckets().find(|(bound, _)| *bound == SHORT);
        same(name, short.map_or(0, |(_, count)| count), self.short)
    }
}

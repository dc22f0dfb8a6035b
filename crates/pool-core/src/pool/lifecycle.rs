//! What happens to instances: the driver's reports, deadlines, and the way to the end.

use std::time::{Duration, Instant};

use crate::effect::{Failure, InstanceEvent};
use crate::reason::{Outcome, Reason, Refusal};
use crate::view::{InstanceId, RequestId};

use super::Pool;
use super::action::Action;
use super::counts::gauge::Gauge;
use super::instance::Phase;
use super::request::{Clock, Stage, Then};

impl<T, H: Clone + Default> Pool<T, H> {
    /// Something happened to an instance. Reports on instances and requests that are gone, or
    /// that no longer apply, are ignored.
    pub fn handle_instance(&mut self, now: Instant, id: InstanceId, event: InstanceEvent<T>) {
        let Some(instance) = self.instances.get_mut(id.0) else {
            if let InstanceEvent::Returned(_, item)
            | InstanceEvent::Exhausted { request: Some((_, item)) } = event
            {
                self.effects.push_back(Action::Discard { item });
            }
            return;
        };
        let requests = &self.requests;
        let elsewhere =
            |request_id| requests.stage(request_id).and_then(Stage::instance) != Some(id);
        match event {
            InstanceEvent::Failed(request_id)
            | InstanceEvent::Progress(request_id)
            | InstanceEvent::Ended(request_id)
            | InstanceEvent::Pinned(request_id)
            | InstanceEvent::Resumed(request_id)
                if elsewhere(request_id) =>
            {
                return;
            }
            InstanceEvent::Returned(request_id, item) if elsewhere(request_id) => {
                self.effects.push_back(Action::Discard { item });
                return;
            }
            InstanceEvent::Started => self.handle_started(now, id),
            InstanceEvent::StartFailed => self.handle_start_failed(now, id),
            InstanceEvent::Exhausted { request } => self.handle_exhausted(now, id, request),
            InstanceEvent::Settled => instance.settling = None,
            InstanceEvent::Backpressure(on) => instance.backpressure = on,
            InstanceEvent::Failed(request_id) => {
                if self.requests.stage(request_id).is_some_and(Stage::awaits_outcome) {
                    self.counters.count(Outcome::Failed);
                }
                self.remove_from(now, id, request_id);
            }
            InstanceEvent::Progress(request_id) => {
                if !self.handle_progress(now, request_id) {
                    return;
                }
            }
            InstanceEvent::Ended(request_id) => {
                if let Some(Stage::Streaming { .. }) = self.requests.stage(request_id) {
                    self.remove_from(now, id, request_id);
                }
            }
            InstanceEvent::Returned(request_id, item) => self.handle_returned(id, request_id, item),
            InstanceEvent::Pinned(request_id) => self.handle_pinned(id, request_id),
            InstanceEvent::Resumed(request_id) => self.handle_resumed(now, id, request_id),
            // A report that crossed with a hand-over is about the time before it; another follows.
            InstanceEvent::Quiet => {
                let requests = &self.requests;
                let waits = |request_id| requests.stage(request_id).is_some_and(Stage::awaits_head);
                if !instance.requests.iter().copied().any(waits) {
                    instance.working = false;
                    instance.settling = None;
                }
            }
            InstanceEvent::Drain(reason) => self.close(now, id, reason),
            // Reported after each request, and mostly the same.
            InstanceEvent::Usage(usage) if usage == instance.usage => return,
            InstanceEvent::Usage(usage) => {
                instance.usage = usage;
                instance.steady_for = Duration::ZERO;
            }
            InstanceEvent::Broken(reason) => self.retire(now, id, reason),
            InstanceEvent::Dropped => self.handle_dropped(now, id),
        }
        self.update(now, id);
        self.dispatch(now);
        self.retire_idle_if_drained(now);
    }

    /// Reports that a guest has a response head for a request. Returns whether a caller waits for it:
    /// if not, drop the head.
    #[must_use]
    pub fn handle_responded(&mut self, now: Instant, request_id: RequestId) -> bool {
        let Some(stage) = self.requests.stage_mut(request_id) else { return false };
        let Some(id) = stage.instance() else { return false };
        // While it was pinned, the others' seats were held back.
        let makes_room = !matches!(stage, Stage::Busy { .. });
        let waits = match stage {
            Stage::Busy { instance, since, .. } | Stage::Pinned { instance, since } => {
                let clock = Clock::Body { moved: now };
                *stage = Stage::Streaming { instance: *instance, since: *since, clock };
                self.counters.count(Outcome::Responded);
                true
            }
            // Told to end before it began, or a second head.
            Stage::Starting { .. } | Stage::Streaming { .. } => return false,
            _ => {
                self.remove_from(now, id, request_id);
                false
            }
        };
        self.update(now, id);
        if makes_room {
            self.dispatch(now);
            self.retire_idle_if_drained(now);
        }
        waits
    }

    fn handle_started(&mut self, now: Instant, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if instance.phase != Phase::Starting {
            return;
        }
        instance.phase = Phase::Open;
        self.counters.start_time.record(now.saturating_duration_since(instance.started));
        instance.started = now;
        instance.since = now;
        instance.start_for = None;
        instance.working = !instance.requests.is_empty();
        // An exclusive start came with its request, whose time begins now.
        let deadline = now.checked_add(self.limits.request_timeout);
        for request_id in instance.requests.iter() {
            if let Some(stage) = self.requests.stage_mut(*request_id) {
                *stage = Stage::Busy { instance: id, since: now, at_work: now, deadline };
                self.counters.queue_wait.record(self.requests.waited(*request_id));
            }
        }
        if instance.working {
            self.arm(id, deadline);
        }
        self.note_room();
    }

    fn handle_start_failed(&mut self, now: Instant, id: InstanceId) {
        self.give_up_start(id, Refusal::StartFailed);
        self.remove_with_store(now, id);
    }

    fn handle_exhausted(&mut self, now: Instant, id: InstanceId, request: Option<(RequestId, T)>) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if let Some((request_id, item)) = request {
            instance.requests.remove(request_id);
            self.requeue(request_id, item);
        }
        self.give_up_start(id, Refusal::Exhausted);
        self.remove_instance(now, id);
        self.lower_ceiling();
    }

    /// Handles a start that came to nothing. At most the request it was for is refused, and only if no
    /// other instance took it. The next dispatch finds another for those that waited beside it.
    fn give_up_start(&mut self, id: InstanceId, refusal: Refusal) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if instance.phase != Phase::Starting {
            return;
        }
        let start_for = instance.start_for.take();
        let handle = instance.handle.clone();
        for &request_id in std::mem::take(&mut instance.requests).iter() {
            self.counters.count(Outcome::Refused);
            self.requests.remove(request_id);
            if refusal == Refusal::StartTimeout {
                let failure = Failure::StartTimeout;
                self.effects.push_back(Action::Fail {
                    id,
                    handle: handle.clone(),
                    request_id,
                    failure,
                });
            }
        }
        if let Some(request_id) = start_for
            && refusal != Refusal::Exhausted
        {
            self.refuse_queued(request_id, refusal);
        }
    }

    fn handle_returned(&mut self, id: InstanceId, request_id: RequestId, item: T) {
        let stage = self.requests.stage(request_id);
        let waits = stage.is_some_and(Stage::awaits_outcome);
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        instance.requests.remove(request_id);
        // Still settling: who gives back its only request may not say before later that it is broken,
        // and must not be given the same one again.
        instance.working &= !instance.requests.is_empty();
        if waits {
            // No guest has seen it: it does not count.
            instance.given -= 1;
            self.requeue(request_id, item);
        } else {
            self.requests.remove(request_id);
            self.effects.push_back(Action::Discard { item });
        }
    }

    fn requeue(&mut self, request_id: RequestId, item: T) {
        // While it waits, those that become idle stay; they are to be looked at when it waits no more.
        self.swept = false;
        if let Some(item) = self.requests.requeue(request_id, item, self.limits.queue_timeout) {
            self.effects.push_back(Action::Discard { item });
        } else if self.stopped {
            self.refuse_queued(request_id, Refusal::Draining);
        }
    }

    fn handle_dropped(&mut self, now: Instant, id: InstanceId) {
        self.spares.rested();
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        // A store that vanished without being asked to: the host's doing.
        if !matches!(instance.phase, Phase::Retiring(_)) {
            let start_for = instance.start_for.take();
            self.retire(now, id, Reason::Host);
            // As after any other start that came to nothing: else it would cause one after another.
            if let Some(request_id) = start_for {
                self.refuse_queued(request_id, Refusal::StartFailed);
            }
        }
        self.remove_with_store(now, id);
    }

    /// What it held is free for others: not so of a start that found the allocator full.
    fn remove_with_store(&mut self, now: Instant, id: InstanceId) {
        if let Some(account) = &mut self.account {
            account.note_drop();
        }
        self.remove_instance(now, id);
    }

    fn remove_instance(&mut self, now: Instant, id: InstanceId) {
        let Some(instance) = self.instances.get(id.0) else { return };
        let reason = match instance.phase {
            Phase::Retiring(reason) => reason,
            // Only a start that failed ends without being retired.
            _ => {
                self.counters.failed_starts += 1;
                self.counters.retired.count(Reason::Host);
                Reason::Host
            }
        };
        let lost_spare = instance.is_spare() && !matches!(instance.phase, Phase::Retiring(_));
        self.forget(id);
        let Some(instance) = self.instances.remove(id.0) else { return };
        self.gauges.change(instance.gauge, Gauge::None);
        if lost_spare {
            self.note_lost_spare(now, reason);
        }
        if let Some(account) = &mut self.account {
            account.release(1);
        }
        // Callers that the driver has not told.
        for &request_id in instance.requests.iter() {
            let failure = Failure::Retired(reason);
            let handle = instance.handle.clone();
            match self.requests.stage(request_id) {
                Some(stage) if stage.awaits_head() => {
                    self.counters.count(Outcome::Failed);
                    self.effects.push_back(Action::Fail { id, handle, request_id, failure });
                }
                Some(Stage::Starting { .. }) => {
                    self.counters.count(Outcome::Refused);
                    self.effects.push_back(Action::Fail { id, handle, request_id, failure });
                }
                _ => {}
            }
            self.finish(now, request_id);
        }
        self.effects.push_back(Action::Gone { handle: instance.handle });
    }

    /// No more requests; it ends when what runs has finished.
    pub(super) fn close(&mut self, now: Instant, id: InstanceId, reason: Reason) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        match instance.phase {
            Phase::Open => {
                instance.phase = Phase::Closing(reason);
                self.update(now, id);
            }
            Phase::Starting => self.retire(now, id, reason),
            Phase::Closing(_) | Phase::Retiring(_) => {}
        }
    }

    /// The end, now. The instance counts until its store has been dropped.
    pub(super) fn retire(&mut self, now: Instant, id: InstanceId, reason: Reason) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if matches!(instance.phase, Phase::Retiring(_)) {
            return;
        }
        self.counters.failed_starts += u64::from(instance.phase == Phase::Starting);
        self.counters.retired.count(reason);
        let lost_spare = instance.is_spare();
        instance.phase = Phase::Retiring(reason);
        instance.revision += 1;
        let handle = instance.handle.clone();
        self.effects.push_back(Action::Retire { id, handle, reason });
        self.gauges.recount(instance);
        self.forget(id);
        if lost_spare {
            self.note_lost_spare(now, reason);
        }
    }

    /// Takes an instance out of all the orders it is in.
    fn forget(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if let Some(place) = instance.ready.take() {
            self.ready.remove(&(place, id));
        }
        if let Some(at) = instance.timer.take() {
            self.timers.remove(&(at, id));
        }
        let coming = std::mem::take(&mut instance.counted_coming);
        self.coming -= coming as u128;
        if std::mem::take(&mut instance.watches_load) {
            self.load_watchers.remove(&id);
        }
    }

    pub(super) fn remove_from(&mut self, now: Instant, id: InstanceId, request_id: RequestId) {
        if let Some(instance) = self.instances.get_mut(id.0) {
            instance.requests.remove(request_id);
        }
        self.finish(now, request_id);
    }

    /// A request leaves its instance for good.
    fn finish(&mut self, now: Instant, request_id: RequestId) {
        if let Some(since) = self.requests.stage(request_id).and_then(Stage::handed_over) {
            self.counters.run_time.record(now.saturating_duration_since(since));
        }
        self.requests.remove(request_id);
    }

    /// The clock reached the instance's timer: whatever is due about it.
    pub(super) fn fire(&mut self, now: Instant, id: InstanceId) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        let next = instance.next_deadline(&self.requests);
        if !due(next) {
            // It was set for something that did not come to pass.
            return self.arm(id, next);
        }
        if instance.phase == Phase::Starting && due(instance.start_deadline) {
            self.give_up_start(id, Refusal::StartTimeout);
            return self.retire(now, id, Reason::Timeout);
        }
        if let Some(settling) = &mut instance.settling {
            settling.over |= due(settling.until);
        }
        if due(instance.policy_wake) {
            instance.policy_wake = None;
            instance.steady_for = Duration::ZERO;
        }
        let handle = instance.handle.clone();
        for &request_id in instance.requests.clone().iter() {
            let Some(stage) = self.requests.stage_mut(request_id) else { continue };
            if !due(stage.deadline()) {
                continue;
            }
            let again = stage.deadline().and_then(|at| at.checked_add(self.limits.request_timeout));
            match *stage {
                Stage::Busy { instance, since, at_work, .. } => {
                    let then = Then::Retire;
                    *stage = Stage::Abandoned { instance, since, at_work, then, deadline: again };
                    self.counters.count(Outcome::Failed);
                    let (handle, failure) = (handle.clone(), Failure::RequestTimeout);
                    self.effects.push_back(Action::Fail { id, handle, request_id, failure });
                    self.close(now, id, Reason::Timeout);
                }
                Stage::Abandoned { instance, since, at_work, then: Then::Close, .. } => {
                    let then = Then::Retire;
                    *stage = Stage::Abandoned { instance, since, at_work, then, deadline: again };
                    self.close(now, id, Reason::Timeout);
                }
                Stage::Abandoned { then: Then::Retire, .. }
                | Stage::Streaming { clock: Clock::Call { .. }, .. } => {
                    self.retire(now, id, Reason::Timeout);
                }
                Stage::Queued { .. }
                | Stage::Starting { .. }
                | Stage::Pinned { .. }
                | Stage::Streaming { .. } => {}
            }
        }
        self.update(now, id);
        let next = self.instances.get(id.0).and_then(|i| i.next_deadline(&self.requests));
        self.arm(id, next);
    }
}

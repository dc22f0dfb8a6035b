//! Who serves what waits: an instance with room, one that will have room, or a new one.

use std::time::Instant;

use crate::effect::Effect;
use crate::reason::Reason;
use crate::view::{InstanceId, Status};

use super::Pool;
use super::instance::{Instance, Phase, Settling};
use super::request::Stage;

impl<T, H: Clone + Default> Pool<T, H> {
    /// Hands over what waits, as far as the limits allow. Called after every change that could
    /// make room or need it: this is what "no orphan" rests on.
    pub(super) fn dispatch(&mut self, now: Instant) {
        loop {
            let wanting = self.requests.queued().min(self.running_left());
            if wanting == 0 {
                return;
            }
            if let Some(&(_, id)) = self.ready.last() {
                self.assign(now, id);
                continue;
            }
            let concurrency = self.limits.concurrency;
            let coming = |id: &InstanceId| {
                self.instances.get(id.0).map_or(0, |instance| instance.coming(concurrency))
            };
            let coming = self.pending.iter().map(coming).fold(0, usize::saturating_add);
            let full = self.instances.len() >= self.limits.max_instances;
            if wanting <= coming || full || self.exhausted {
                return;
            }
            self.start(now, coming);
        }
    }

    fn running_left(&self) -> usize {
        let running = self.requests.len() - self.requests.queued();
        self.limits.max_running.map_or(usize::MAX, |most| most.saturating_sub(running))
    }

    fn assign(&mut self, now: Instant, id: InstanceId) {
        let deadline = now.checked_add(self.limits.request_timeout);
        let stage = Stage::Busy { instance: id, since: now, deadline };
        let Some((ticket, item)) = self.requests.take_head(stage) else { return };
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        instance.given += 1;
        instance.requests.push(ticket);
        instance.working = true;
        if instance.shared {
            // Taken to compute until it shows otherwise.
            let until = now.checked_add(self.limits.settle_time);
            instance.settling = Some(Settling { until, over: false });
        }
        let handle = instance.handle.clone();
        self.effects.push_back(Effect::Assign { id, handle, ticket, item });
        self.update(now, id);
    }

    /// Starts an instance for the waiting request that has `ahead` others before it which other
    /// instances will serve. An exclusive one takes the head of the queue with it, the others
    /// move up.
    fn start(&mut self, now: Instant, ahead: usize) {
        let fresh = self.limits.max_requests.most() == Some(1);
        let shared = self.limits.concurrency > 1 && !fresh;
        let handle = H::default();
        let id = InstanceId(self.instances.insert(Instance {
            handle: handle.clone(),
            phase: Phase::Starting,
            shared,
            quota: self.limits.max_requests.draw(self.random.next()),
            given: 0,
            requests: Vec::new(),
            start_for: None,
            start_deadline: now.checked_add(self.limits.start_timeout),
            started: now,
            working: false,
            settling: None,
            backpressure: false,
            ready: None,
            status: Status::Idle,
            since: now,
            timer: None,
            policy_wake: None,
            revision: 0,
            dirty: false,
        }));
        self.counters.starts += 1;
        let request = if shared {
            let start_for = self.requests.queued_at(ahead);
            self.instances.get_mut(id.0).expect("just inserted").start_for = start_for;
            self.pending.insert(id);
            None
        } else {
            self.requests.take_head(Stage::Starting { instance: id })
        };
        if let Some((ticket, _)) = &request {
            let instance = self.instances.get_mut(id.0).expect("just inserted");
            instance.given = 1;
            instance.requests.push(*ticket);
        }
        self.effects.push_back(Effect::Start { id, handle, request });
        self.arm(id);
    }

    /// Brings everything that is derived from an instance's state up to date, and ends the
    /// instance if its time has come. Called after every change to it.
    pub(super) fn update(&mut self, now: Instant, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        let quiet = instance.requests.is_empty() && !instance.working;
        let given_up = !instance.requests.is_empty()
            && instance
                .requests
                .iter()
                .all(|ticket| self.requests.stage(*ticket).is_some_and(Stage::is_overdue));
        let ending = match instance.phase {
            Phase::Closing(reason) if quiet || given_up => Some(reason),
            Phase::Open if quiet && instance.given >= instance.quota => Some(Reason::Requests),
            Phase::Open if quiet && self.draining && self.requests.queued() == 0 => {
                Some(Reason::Drain)
            }
            _ => None,
        };
        if let Some(reason) = ending {
            return self.retire(id, reason);
        }

        let status = instance.status_now(&self.requests);
        if status != instance.status {
            instance.status = status;
            instance.since = now;
        }
        let room = instance.room(self.limits.concurrency) > 0;
        match (room, instance.ready) {
            (true, None) => {
                instance.ready = Some(self.next_ready);
                self.ready.insert((self.next_ready, id));
                self.next_ready += 1;
            }
            (false, Some(place)) => {
                instance.ready = None;
                self.ready.remove(&(place, id));
            }
            _ => {}
        }
        if instance.coming(self.limits.concurrency) > 0 {
            self.pending.insert(id);
        } else {
            self.pending.remove(&id);
        }
        self.arm(id);
        self.mark_dirty(id);
    }

    /// Sees to it that the clock looks at the instance in time. A timer that is too early stays:
    /// when it fires, the right time is found.
    pub(super) fn arm(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        let Some(deadline) = instance.next_deadline(&self.requests) else { return };
        if instance.timer.is_some_and(|timer| timer <= deadline) {
            return;
        }
        if let Some(later) = instance.timer.replace(deadline) {
            self.timers.remove(&(later, id));
        }
        self.timers.insert((deadline, id));
    }

    pub(super) fn mark_dirty(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        instance.revision += 1;
        if !instance.dirty && instance.is_live() {
            instance.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// While draining, instances with nothing to do end as soon as nothing waits.
    pub(super) fn retire_idle_if_drained(&mut self, now: Instant) {
        if self.draining && self.requests.queued() == 0 {
            // Not only those with room: an idle one may be holding requests back.
            let idle =
                self.instances.iter().filter(|(_, i)| i.is_live() && i.status == Status::Idle);
            for id in idle.map(|(key, _)| InstanceId(key)).collect::<Vec<_>>() {
                self.update(now, id);
            }
        }
    }
}

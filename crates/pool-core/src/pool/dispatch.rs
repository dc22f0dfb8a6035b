//! Who serves what waits: an instance with room, one that will have room, or a new one.

use std::time::{Duration, Instant};

use crate::effect::{Mode, Usage};
use crate::reason::Reason;
use crate::view::{InstanceId, RequestId, Status};

use super::action::Action;
use super::counts::gauge::Gauge;
use super::instance::{Instance, Phase, Settling};
use super::request::Stage;
use super::seats::Seats;
use super::{Pool, sooner};

impl<T, H: Clone + Default> Pool<T, H> {
    /// Hands over what waits, as far as the limits allow, then looks after spares. Called after every
    /// change that could make room or need it: this is what "no orphan" rests on.
    pub(super) fn dispatch(&mut self, now: Instant) {
        self.serve_queue(now);
        self.retire_unwanted_spares(now);
        self.start_spares(now);
        self.note_warmth();
        self.plan_probe(now);
    }

    fn serve_queue(&mut self, now: Instant) {
        while self.wanting() > 0 {
            if let Some(&(_, id)) = self.ready.last() {
                self.assign(now, id);
                continue;
            }
            let coming = self.coming();
            if self.wanting() <= coming || !self.may_start() {
                return;
            }
            self.start_for_request(now, coming);
        }
    }

    /// Requests that wait and may run.
    fn wanting(&self) -> usize {
        self.requests.queued().min(self.running_left())
    }

    /// Requests for which there will soon be room.
    fn coming(&self) -> usize {
        debug_assert_eq!(self.coming, self.coming_counted());
        usize::try_from(self.coming).unwrap_or(usize::MAX)
    }

    fn coming_counted(&self) -> u128 {
        let of = |instance: &Instance<H>| instance.coming(self.limits.concurrency) as u128;
        self.instances.iter().map(|(_, instance)| of(instance)).sum()
    }

    /// Requests that wait and may run, and for which there will not soon be room.
    pub(super) fn missing_seats(&self) -> usize {
        if self.wanting() == 0 {
            return 0;
        }
        self.wanting().saturating_sub(self.coming())
    }

    /// Instances that would be started for requests if the budget allowed for it, and those beyond
    /// for which the allocator is full.
    pub(super) fn wanted_instances(&self) -> (usize, usize) {
        let quota = self.limits.max_requests.most().map_or(usize::MAX, |most| most as usize);
        let seats = if self.starts_shared() { self.limits.concurrency.min(quota) } else { 1 };
        let most = self.limits.max_instances.saturating_sub(self.instances.len());
        let wanted = self.missing_seats().div_ceil(seats).min(most);
        let there = wanted.min(self.room_left());
        (there, wanted - there)
    }

    /// How many more instances its own limit and the allocator leave room for.
    pub(super) fn startable(&self) -> usize {
        let most = self.limits.max_instances.saturating_sub(self.instances.len());
        most.min(self.room_left())
    }

    /// The same, with the budget's grants.
    pub(super) fn may_start(&self) -> bool {
        self.startable() > 0 && self.account.as_ref().is_none_or(|account| account.held > 0)
    }

    /// Whether new instances take several requests at a time.
    fn starts_shared(&self) -> bool {
        self.limits.concurrency > 1 && self.limits.max_requests.most() != Some(1)
    }

    fn running_left(&self) -> usize {
        let running = self.requests.len() - self.requests.queued();
        self.limits.max_running.map_or(usize::MAX, |most| most.saturating_sub(running))
    }

    /// Returns an instance that can serve a new request immediately.
    pub(super) fn ready_for_newcomer(&self) -> Option<InstanceId> {
        if self.newcomer_waits() {
            return None;
        }
        self.ready.last().map(|(_, id)| *id)
    }

    /// Returns whether a new request that no instance can serve has one started immediately.
    pub(super) fn starts_for_newcomer(&self) -> bool {
        !self.newcomer_waits() && !self.starts_shared() && self.coming() == 0 && self.may_start()
    }

    fn newcomer_waits(&self) -> bool {
        self.draining || self.requests.queued() > 0 || self.running_left() == 0
    }

    fn assign(&mut self, now: Instant, id: InstanceId) {
        let stage = self.busy_on(now, id);
        let Some((request_id, item)) = self.requests.take_head(now, stage) else { return };
        self.hand_over(now, id, request_id, item);
    }

    pub(super) fn busy_on(&self, now: Instant, id: InstanceId) -> Stage<T> {
        let deadline = now.checked_add(self.limits.request_timeout);
        Stage::Busy { instance: id, since: now, at_work: now, deadline }
    }

    /// Gives an instance a request that is counted as being on it.
    pub(super) fn hand_over(
        &mut self,
        now: Instant,
        id: InstanceId,
        request_id: RequestId,
        item: T,
    ) {
        self.counters.queue_wait.record(self.requests.waited(request_id));
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if instance.is_spare() {
            let alone = self.requests.len() - self.requests.queued() == 1;
            self.spares.used(now, alone);
        }
        instance.given += 1;
        instance.requests.push(request_id);
        instance.working = true;
        let mut first = self.requests.stage(request_id).and_then(Stage::deadline);
        if instance.shared {
            // Taken to compute until it shows otherwise.
            let until = now.checked_add(self.limits.settle_time);
            instance.settling = Some(Settling { until, over: false });
            first = sooner(first, until);
        }
        let handle = instance.handle.clone();
        self.effects.push_back(Action::Assign { id, handle, request_id, item });
        self.arm(id, first);
        self.update(now, id);
    }

    /// Starts an instance for the waiting request that has `ahead` others before it which other
    /// instances will serve. An exclusive one takes the head of the queue with it, the others
    /// move up.
    fn start_for_request(&mut self, now: Instant, ahead: usize) {
        let id = self.insert(now, false);
        // A request pays for a start: there are too few spares.
        self.spares.rested();
        let request = if self.starts_shared() {
            let start_for = self.requests.queued_at(ahead);
            self.instances.get_mut(id.0).expect("just inserted").start_for = start_for;
            None
        } else {
            self.requests.take_head(now, Stage::Starting { instance: id })
        };
        self.begin_start(id, request);
    }

    /// Starts an exclusive instance for a new request, when no request waits ahead of it.
    pub(super) fn start_for_newcomer(&mut self, now: Instant, item: T) -> RequestId {
        let id = self.insert(now, false);
        self.spares.rested();
        let request_id = self.requests.submit_served(now, Stage::Starting { instance: id });
        self.begin_start(id, Some((request_id, item)));
        request_id
    }

    /// Starts a spare instance.
    pub(super) fn start_spare(&mut self, now: Instant) {
        let id = self.insert(now, true);
        self.begin_start(id, None);
    }

    fn begin_start(&mut self, id: InstanceId, request: Option<(RequestId, T)>) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if let Some((request_id, _)) = &request {
            instance.given = 1;
            instance.requests.push(*request_id);
        }
        let mode = if instance.shared { Mode::Shared } else { Mode::Exclusive };
        let handle = instance.handle.clone();
        let deadline = instance.start_deadline;
        self.effects.push_back(Action::Start { id, handle, mode, request });
        self.arm(id, deadline);
    }

    fn insert(&mut self, now: Instant, spare: bool) -> InstanceId {
        if let Some(account) = &mut self.account {
            account.held -= 1;
        }
        let random = self.random.unit();
        let id = InstanceId(self.instances.insert(Instance {
            handle: H::default(),
            phase: Phase::Starting,
            shared: self.starts_shared(),
            spare,
            random,
            quota: self.limits.max_requests.draw(random),
            given: 0,
            requests: Seats::default(),
            start_for: None,
            start_deadline: now.checked_add(self.limits.start_timeout),
            started: now,
            working: false,
            settling: None,
            backpressure: false,
            pinned: false,
            usage: Usage::default(),
            gauge: Gauge::None,
            ready: None,
            counted_coming: 0,
            status: Status::Idle,
            since: now,
            timer: None,
            policy_wake: None,
            steady_for: Duration::ZERO,
            revision: 0,
            load_level: (false, false),
            watches_load: false,
            dirty: false,
        }));
        self.counters.starts += 1;
        if let Some(instance) = self.instances.get_mut(id.0) {
            recount_coming(&mut self.coming, instance, self.limits.concurrency);
            self.gauges.recount(instance);
        }
        id
    }

    /// Brings everything that is derived from an instance's state up to date, and ends the
    /// instance if its time has come. Called after every change to it.
    pub(super) fn update(&mut self, now: Instant, id: InstanceId) {
        let too_many = self.too_many();
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        let quiet = instance.requests.is_empty() && !instance.working;
        let given_up = !instance.requests.is_empty()
            && instance
                .requests
                .iter()
                .all(|request_id| self.requests.stage(*request_id).is_some_and(Stage::is_overdue));
        let ending = match instance.phase {
            Phase::Closing(reason) if quiet || given_up => Some(reason),
            Phase::Open if quiet && instance.given >= instance.quota => Some(Reason::Requests),
            Phase::Open if quiet && self.draining && self.requests.queued() == 0 => {
                Some(Reason::Drain)
            }
            Phase::Open if quiet && too_many => Some(Reason::Pressure),
            // With nothing to do, nothing in it will take that back.
            Phase::Open if quiet && instance.backpressure && instance.given > 0 => {
                Some(Reason::Host)
            }
            _ => None,
        };
        if let Some(reason) = ending {
            return self.retire(now, id, reason);
        }

        let status = instance.status_now(&self.requests);
        if status != instance.status {
            instance.status = status;
            instance.since = now;
        }
        if instance.pinned {
            instance.pinned = instance.has_pinned(&self.requests);
        }
        let concurrency = self.limits.concurrency;
        let room = instance.room(concurrency) > 0;
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
        recount_coming(&mut self.coming, instance, concurrency);
        self.gauges.recount(instance);
        // The view has changed. A policy that is steady is shown that when it may first matter to it.
        let overdue = instance.policy_wake.is_some_and(|at| at <= now);
        if instance.steady_for.is_zero() || overdue {
            return self.mark_dirty(id);
        }
        let wake = sooner(instance.policy_wake, now.checked_add(instance.steady_for));
        if wake != instance.policy_wake {
            instance.policy_wake = wake;
            self.arm(id, wake);
        }
    }

    /// Whether there are more instances than the limit, which was lowered.
    fn too_many(&self) -> bool {
        self.instances.len() - self.gauges.leaving() > self.limits.max_instances
    }

    /// Sees to it that the clock looks at the instance in time for a new deadline. A timer that is too
    /// early stays: when it fires, the right time is found.
    pub(super) fn arm(&mut self, id: InstanceId, deadline: Option<Instant>) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        let Some(deadline) = deadline else { return };
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

    /// While draining, instances with nothing to do end as soon as nothing waits: those that have nothing
    /// to do then, here; those that come to have nothing to do later, when they are brought up to date.
    pub(super) fn retire_idle_if_drained(&mut self, now: Instant) {
        if self.draining && !self.swept && self.requests.queued() == 0 {
            self.swept = true;
            // Not only those with room: an idle one may be holding requests back.
            let idle =
                self.instances.iter().filter(|(_, i)| i.is_live() && i.status == Status::Idle);
            for id in idle.map(|(key, _)| InstanceId(key)).collect::<Vec<_>>() {
                self.update(now, id);
            }
        }
    }
}

/// Counts the room that an instance will have as it is now.
fn recount_coming<H>(all: &mut u128, instance: &mut Instance<H>, concurrency: usize) {
    let coming = instance.coming(concurrency);
    let before = std::mem::replace(&mut instance.counted_coming, coming);
    if coming != before {
        *all = *all + coming as u128 - before as u128;
    }
}

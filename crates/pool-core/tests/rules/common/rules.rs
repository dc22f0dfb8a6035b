//! What must be true after every input: no request waits in vain, nothing outlives its time, and
//! nothing exceeds its limit.

use std::time::{Duration, Instant};

use millpond_pool_core::{InstanceView, Status};

use super::ledger::{Instance, Ledger, Place};

impl Ledger {
    /// How many more requests each instance could be given right now.
    fn room(&self, number: u64, instance: &Instance) -> usize {
        let guests = self.guests(number).len();
        let seats = if instance.shared {
            self.limits.concurrency.max(1).saturating_sub(guests)
        } else {
            usize::from(guests == 0 && !instance.working)
        };
        let left = instance.most.saturating_sub(instance.given);
        seats.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Instances that must be given the next request.
    pub fn with_room(&self) -> Vec<u64> {
        let takes = |number: u64, instance: &Instance| {
            let refuses = instance.closed || instance.retiring || instance.backpressure;
            instance.open && !refuses && !instance.settling && !self.is_pinned(number)
        };
        let roomy = self.instances.iter().filter(|(n, i)| takes(**n, i) && self.room(**n, i) > 0);
        roomy.map(|(number, _)| *number).collect()
    }

    /// Requests that wait for a seat, and not only for `max_running`.
    pub fn wanting(&self) -> usize {
        self.wanting_of(self.queue().len())
    }

    /// The same, if so many wait.
    fn wanting_of(&self, waiting: usize) -> usize {
        let running = self.requests.values().filter(|request| request.place.on().is_some()).count();
        let left = self.limits.max_running.map_or(usize::MAX, |most| most.saturating_sub(running));
        waiting.min(left)
    }

    /// Seats on instances that start, or that settle within their time.
    pub fn coming(&self) -> usize {
        let soon = |number: u64, instance: &Instance| {
            let settling = instance.settling && !instance.slow;
            let starting = !instance.open && instance.free;
            let takes = !instance.closed && !instance.retiring;
            let held_back = instance.backpressure || self.is_pinned(number);
            takes && (starting || (settling && !held_back))
        };
        let seats = self.instances.iter().filter(|(number, instance)| soon(**number, instance));
        seats.fold(0, |sum, (number, instance)| sum.saturating_add(self.room(*number, instance)))
    }

    /// Requests that wait, and for which there will not soon be a seat.
    pub fn missing_seats(&self) -> usize {
        self.missing_seats_of(self.queue().len())
    }

    /// The same, if so many wait.
    pub fn missing_seats_of(&self, waiting: usize) -> usize {
        self.wanting_of(waiting).saturating_sub(self.coming())
    }

    /// No orphan: what waits is waited for.
    pub fn check_orphans(&self, timeout: Option<Instant>) {
        let wanting = self.wanting();
        if wanting == 0 || self.instances.values().any(|instance| !instance.exact) {
            return;
        }
        assert_eq!(self.with_room(), [0; 0], "{wanting} wait beside an instance with room");
        let at_limit = self.instances.len() >= self.limits.max_instances;
        let by = |at| timeout.is_some_and(|timeout| timeout <= at);
        let planned = if self.vague {
            by(self.now + Duration::from_secs(1))
        } else {
            self.fitting() == 0 && self.allocator.probe_at.is_some_and(by)
        };
        let asked = self.account.as_ref().is_some_and(|account| account.newest.wanted > 0);
        let served = at_limit || self.missing_seats() == 0 || planned || asked;
        assert!(served, "{wanting} wait and no instance will take them");
    }

    /// Instances end when their time has come.
    pub fn check_endings(&self) {
        let drained = self.draining && self.queue().is_empty();
        let staying = self.instances.values().filter(|instance| !instance.retiring).count();
        let surplus = staying > self.limits.max_instances;
        for (number, instance) in &self.instances {
            if instance.retiring || !instance.open {
                continue;
            }
            let guests = self.guests(*number);
            let overdue =
                |guest: &u64| matches!(self.place(*guest), Place::Left { overdue: true, .. });
            let quiet = guests.is_empty() && !instance.working;
            let given_up = !guests.is_empty() && guests.iter().all(overdue);
            assert!(!(instance.closed && (quiet || given_up)), "{number} is closed and goes on");
            let worn = instance.exact && instance.given >= instance.most;
            assert!(!(quiet && worn), "instance {number} served its last request and goes on");
            assert!(!(quiet && drained), "instance {number} goes on though the pool is drained");
            assert!(!(quiet && surplus), "instance {number} goes on though there are too many");
            let useless = instance.backpressure && instance.given > 0;
            assert!(!(quiet && useless), "instance {number} has nothing to do and wants nothing");
        }
    }

    /// The earliest time at which something is due.
    pub fn first_deadline(&self) -> Option<Instant> {
        let live = |number: &u64| self.instances.get(number).is_some_and(|i| !i.retiring);
        let requests = self.requests.values().filter(|request| match request.place {
            Place::Queue => true,
            place => place.on().is_some_and(|on| live(&on)),
        });
        let starting = self.instances.values().filter(|i| !i.open && !i.retiring);
        let settling = self.instances.values().filter(|i| i.settling && !i.retiring);
        let requests = requests.filter_map(|request| request.deadline);
        let starts = starting.filter_map(|instance| instance.start_deadline);
        let due = requests.chain(starts).chain(settling.filter_map(|i| i.settled_by));
        let spares = self.spares.not_before.filter(|_| self.missing_spares() > 0);
        let spares = spares.filter(|at| !self.vague && *at > self.now);
        let probe = self.allocator.probe_at.filter(|_| !self.vague);
        due.chain(spares).chain(probe).min()
    }

    /// After the clock was looked at, nothing that is due is left.
    pub fn check_due(&self) {
        let limits = &self.limits;
        let timeouts = [limits.queue_timeout, limits.start_timeout, limits.request_timeout];
        let instant = timeouts.contains(&Duration::ZERO) || limits.settle_time.is_zero();
        let first = self.first_deadline();
        assert!(instant || first.is_none_or(|first| first > self.now), "something is overdue");
    }

    /// A request is on an instance that is there, or nowhere.
    pub fn check_seats(&self) {
        for (number, request) in &self.requests {
            let on = request.place.on();
            assert!(on.is_none_or(|on| self.instances.contains_key(&on)), "{number} is nowhere");
            let told =
                matches!(request.place, Place::Over | Place::Streaming(_) | Place::Left { .. });
            assert_eq!(told, request.outcome.is_some(), "the outcome of {number}");
        }
    }

    pub fn check_permits(&self, free: usize, reserved: usize) {
        let here = self.requests.values().filter(|request| request.place != Place::Over).count();
        let left = self.limits.permits().saturating_sub(self.reserved + here);
        assert_eq!(free, if self.draining { 0 } else { left }, "free permits");
        assert_eq!(reserved, self.reserved, "reserved permits");
    }

    /// What a policy is shown of an instance.
    pub fn check_view(&self, view: &InstanceView) {
        let instance = &self.instances[&view.id.number()];
        assert_eq!(
            (view.memory, view.resources),
            (instance.usage.memory, instance.usage.resources)
        );
        assert_eq!(view.requests, instance.given);
        let guests = self.guests(view.id.number());
        let are = |wanted: fn(Place) -> bool| {
            guests.iter().filter(|guest| wanted(self.place(**guest))).count()
        };
        let busy = are(|place| matches!(place, Place::Busy(_) | Place::Left { .. }));
        let pinned = are(|place| matches!(place, Place::Pinned(_)));
        let streaming = are(|place| matches!(place, Place::Streaming(_)));
        assert_eq!((view.busy, view.pinned, view.streaming), (busy, pinned, streaming), "{view:?}");
        let status = match (busy, pinned, streaming, instance.working) {
            (1.., ..) => Status::Busy,
            (0, 1.., ..) => Status::Pinned,
            (0, 0, 1.., _) => Status::Streaming,
            (0, 0, 0, true) => Status::PostReturn,
            (0, 0, 0, false) => Status::Idle,
        };
        assert_eq!(view.status, status, "{view:?}");
        assert!(self.vague || view.spare == instance.is_unused_spare(), "{view:?}");
        assert!((0.0..1.0).contains(&view.random), "{view:?}");
    }
}

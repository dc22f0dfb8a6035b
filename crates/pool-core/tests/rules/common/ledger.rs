//! A second opinion: where every request and every instance is, told from the inputs and effects
//! alone. It shares no code with the pool; after each input the two must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use millpond_pool_core::{Failure, Limits, Mode, Outcome, Refusal, Snapshot, Usage};

use super::account::Account;
use super::allocator::Allocator;
use super::spares::Spares;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Queue,
    Starting(u64),
    Busy(u64),
    /// Its guest waits for the host.
    Pinned(u64),
    Streaming(u64),
    /// Its caller has left; its guest goes on. `overdue`: the guest has had its time.
    Left {
        on: u64,
        overdue: bool,
    },
    Over,
}

impl Place {
    pub fn on(self) -> Option<u64> {
        match self {
            Self::Starting(on)
            | Self::Busy(on)
            | Self::Pinned(on)
            | Self::Streaming(on)
            | Self::Left { on, .. } => Some(on),
            Self::Queue | Self::Over => None,
        }
    }
}

#[derive(Debug)]
pub struct Request {
    pub place: Place,
    pub outcome: Option<Outcome>,
    pub submitted: Instant,
    /// The end of its wait, of its guest's time, or of its guest's second time.
    pub deadline: Option<Instant>,
    /// Its guest was called for the last time, after the head.
    pub last_call: bool,
}

#[derive(Debug)]
pub struct Instance {
    pub shared: bool,
    /// `Started` was reported.
    pub loaded: bool,
    /// The pool takes it for started.
    pub open: bool,
    /// It must get no more requests.
    pub closed: bool,
    pub retiring: bool,
    pub working: bool,
    pub backpressure: bool,
    pub settling: bool,
    pub settled_by: Option<Instant>,
    /// It has been settling for too long to be waited for.
    pub slow: bool,
    /// It starts without being tied to a request.
    pub free: bool,
    /// No request needed it when it was started.
    pub spare: bool,
    pub usage: Usage,
    pub given: u64,
    pub most: u64,
    pub exact: bool,
    pub start_deadline: Option<Instant>,
}

#[derive(Debug)]
pub struct Ledger {
    pub now: Instant,
    pub limits: Limits,
    pub requests: BTreeMap<u64, Request>,
    pub instances: BTreeMap<u64, Instance>,
    pub reserved: usize,
    pub draining: bool,
    pub allocator: Allocator,
    pub spares: Spares,
    pub account: Option<Account>,
    /// There were instances whose last request only the pool knows.
    pub vague: bool,
    /// The pool has had an input from which spares follow.
    pub looked: bool,
    pub gone: usize,
    /// What a request was told whose time was over when the clock was last looked at.
    pub late: Refusal,
    /// How many requests the failed starts of this input may still cost.
    pub blame: usize,
}

impl Ledger {
    pub fn new(now: Instant, limits: Limits) -> Self {
        Self {
            now,
            limits,
            requests: BTreeMap::new(),
            instances: BTreeMap::new(),
            reserved: 0,
            draining: false,
            allocator: Allocator::default(),
            spares: Spares::default(),
            account: None,
            vague: false,
            looked: false,
            gone: 0,
            late: Refusal::QueueTimeout,
            blame: 0,
        }
    }

    pub fn place(&self, request: u64) -> Place {
        self.requests[&request].place
    }

    pub fn guests(&self, instance: u64) -> BTreeSet<u64> {
        let on = self.requests.iter().filter(|(_, r)| r.place.on() == Some(instance));
        on.map(|(number, _)| *number).collect()
    }

    pub fn queue(&self) -> Vec<u64> {
        let waiting = self.requests.iter().filter(|(_, r)| r.place == Place::Queue);
        waiting.map(|(number, _)| *number).collect()
    }

    pub fn submit(&mut self, number: u64) {
        self.reserved -= 1;
        let deadline = self.now.checked_add(self.limits.queue_timeout);
        let (place, outcome, submitted) = (Place::Queue, None, self.now);
        let request = Request { place, outcome, submitted, deadline, last_call: false };
        let old = self.requests.insert(number, request);
        assert!(old.is_none(), "request_id {number} was used twice");
    }

    pub fn requeue(&mut self, number: u64) {
        let timeout = self.limits.queue_timeout;
        let request = self.request(number);
        request.place = Place::Queue;
        request.deadline = request.submitted.checked_add(timeout);
    }

    pub fn over(&mut self, number: u64, outcome: Option<Outcome>) {
        let request = self.request(number);
        request.place = Place::Over;
        request.deadline = None;
        self.outcome(number, outcome);
    }

    pub fn outcome(&mut self, number: u64, outcome: Option<Outcome>) {
        if outcome.is_some() {
            let old = std::mem::replace(&mut self.request(number).outcome, outcome);
            assert_eq!(old, None, "request {number} has a second outcome, {outcome:?}");
        }
    }

    pub fn request(&mut self, number: u64) -> &mut Request {
        self.requests.get_mut(&number).expect("a known request")
    }

    pub fn instance(&mut self, number: u64) -> &mut Instance {
        self.instances.get_mut(&number).expect("a live instance")
    }

    pub fn hand_over(&mut self, number: u64, on: u64) {
        let deadline = self.now.checked_add(self.limits.request_timeout);
        let request = self.request(number);
        (request.place, request.deadline) = (Place::Busy(on), deadline);
        self.instance(on).working = true;
    }

    /// Whether the instance is kept for a request of its own.
    pub fn is_pinned(&self, instance: u64) -> bool {
        self.guests(instance).iter().any(|guest| matches!(self.place(*guest), Place::Pinned(_)))
    }

    /// The store of an instance is gone; a request that still waits there must be told.
    pub fn remove(&mut self, number: u64) {
        self.instances.remove(&number).expect("a live instance");
        if let Some(account) = &mut self.account {
            account.released += 1;
        }
        for guest in self.guests(number) {
            if matches!(self.place(guest), Place::Streaming(_) | Place::Left { .. }) {
                self.over(guest, None);
            }
        }
    }

    /// What the passing of time does without an effect.
    pub fn tick(&mut self, now: Instant) {
        self.late = self.late_refusal();
        self.now = now;
        self.look_at_spares();
        self.probe();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut blame = 0;
        for instance in self.instances.values_mut().filter(|instance| !instance.retiring) {
            blame += usize::from(instance.shared && !instance.open && due(instance.start_deadline));
            if due(instance.settled_by) {
                (instance.slow, instance.settled_by) = (true, None);
            }
        }
        self.blame += blame;
        let left = self.requests.values_mut().filter(|request| due(request.deadline));
        for request in left {
            let Place::Left { on, overdue: false } = request.place else { continue };
            let Some(instance) = self.instances.get_mut(&on) else { continue };
            if !instance.retiring {
                request.place = Place::Left { on, overdue: true };
                request.deadline = request
                    .deadline
                    .and_then(|deadline| deadline.checked_add(self.limits.request_timeout));
                instance.closed = true;
            }
        }
    }

    /// What the requests wait for.
    fn late_refusal(&self) -> Refusal {
        let at_limit = self.instances.len() >= self.limits.max_instances;
        if self.fitting() == 0 {
            Refusal::Exhausted
        } else if self.account.is_some() && self.missing_seats() > 0 && !at_limit {
            Refusal::BudgetExhausted
        } else {
            Refusal::QueueTimeout
        }
    }

    pub fn saw_start(&mut self, number: u64, mode: Mode, request: Option<u64>) {
        assert!(self.instances.len() < self.limits.max_instances, "too many live instances");
        assert_eq!(mode == Mode::Shared, self.starts_shared(), "the mode of instance {number}");
        let (most, exact) = self.quota();
        let ahead = request.is_none() && (mode == Mode::Exclusive || self.missing_seats() == 0);
        let spare = ahead && !self.vague;
        if spare {
            self.saw_spare_start();
        } else if !self.vague {
            assert!(self.missing_seats() > 0, "instance {number} was started for no request");
            assert_eq!(self.with_room(), [0; 0], "instance {number} was started beside one");
            self.spares.rests = false;
        }
        assert!(self.vague || self.fitting() > 0, "instance {number} does not fit");
        self.vague |= !exact;
        self.spend_grant();
        let instance = Instance {
            shared: mode == Mode::Shared,
            loaded: false,
            open: false,
            closed: false,
            retiring: false,
            working: false,
            backpressure: false,
            settling: false,
            settled_by: None,
            slow: false,
            free: request.is_none(),
            spare,
            usage: Usage::default(),
            given: u64::from(request.is_some()),
            most,
            exact,
            start_deadline: self.now.checked_add(self.limits.start_timeout),
        };
        self.instances.insert(number, instance);
        if let Some(request) = request {
            assert_eq!(self.queue().first(), Some(&request), "not the head of the queue");
            let request = self.request(request);
            (request.place, request.deadline) = (Place::Starting(number), None);
        }
    }

    pub fn saw_assign(&mut self, request: u64, on: u64) {
        assert!(self.wanting() > 0, "request {request} was handed over beyond max_running");
        assert_eq!(self.queue().first(), Some(&request), "not the head of the queue");
        assert!(self.with_room().contains(&on), "instance {on} has no room for {request}");
        let settled_by = self.now.checked_add(self.limits.settle_time);
        if self.instances[&on].is_unused_spare() {
            self.spare_used();
        }
        let instance = self.instance(on);
        instance.given += 1;
        if instance.shared {
            (instance.settling, instance.slow) = (true, false);
            instance.settled_by = settled_by;
        }
        self.hand_over(request, on);
    }

    pub fn saw_refuse(&mut self, request: u64, refusal: Refusal) {
        assert_eq!(self.place(request), Place::Queue, "refused: {request}");
        match refusal {
            Refusal::QueueTimeout | Refusal::Exhausted | Refusal::BudgetExhausted => {
                assert!(self.requests[&request].deadline <= Some(self.now));
                assert!(self.vague || refusal == self.late, "{refusal}, not {}", self.late);
            }
            Refusal::Draining => assert!(self.draining),
            _ => self.blame = self.blame.checked_sub(1).expect("one refusal for each failed start"),
        }
        self.over(request, Some(Outcome::Refused));
    }

    pub fn saw_fail(&mut self, request: u64, on: u64, failure: Failure) {
        let place = self.place(request);
        match failure {
            Failure::StartTimeout => {
                assert_eq!(place, Place::Starting(on));
                assert!(self.instances[&on].start_deadline <= Some(self.now));
                self.over(request, Some(Outcome::Refused));
            }
            Failure::RequestTimeout => {
                assert_eq!(place, Place::Busy(on));
                let timeout = self.limits.request_timeout;
                let known = self.request(request);
                let deadline = known.deadline.expect("a deadline");
                known.deadline = deadline.checked_add(timeout);
                known.place = Place::Left { on, overdue: true };
                assert!(deadline <= self.now, "request {request} failed before its time");
                self.outcome(request, Some(Outcome::Failed));
                self.instance(on).closed = true;
            }
            Failure::Retired(_) => {
                assert!(!self.instances.contains_key(&on), "failed on a live instance");
                let outcome = match place {
                    Place::Starting(_) => Outcome::Refused,
                    _ => Outcome::Failed,
                };
                self.over(request, Some(outcome));
            }
            other => panic!("unknown failure {other:?}"),
        }
    }

    /// The gauges and counters that the pool should show.
    pub fn compare(&self, snapshot: &Snapshot) {
        let places = |wanted: fn(Place) -> bool| {
            self.requests.values().filter(|request| wanted(request.place)).count()
        };
        let outcomes = |wanted| {
            self.requests.values().filter(|request| request.outcome == Some(wanted)).count() as u64
        };
        assert_eq!(snapshot.queued, places(|place| place == Place::Queue), "queued");
        assert_eq!(snapshot.starting, places(|p| matches!(p, Place::Starting(_))), "starting");
        assert_eq!(snapshot.busy, places(|p| matches!(p, Place::Busy(_))), "busy");
        assert_eq!(snapshot.pinned, places(|p| matches!(p, Place::Pinned(_))), "pinned");
        assert_eq!(snapshot.streaming, places(|p| matches!(p, Place::Streaming(_))), "streaming");
        assert_eq!(snapshot.abandoned, places(|p| matches!(p, Place::Left { .. })), "abandoned");
        assert_eq!(snapshot.responded, outcomes(Outcome::Responded), "responded");
        assert_eq!(snapshot.failed, outcomes(Outcome::Failed), "failed");
        assert_eq!(snapshot.refused, outcomes(Outcome::Refused), "refused");
        assert_eq!(snapshot.cancelled, outcomes(Outcome::Cancelled), "cancelled");
        assert_eq!(snapshot.instances.live(), self.instances.len(), "live instances");
        let retiring = self.instances.values().filter(|instance| instance.retiring).count();
        assert_eq!(snapshot.instances.retiring, retiring, "retiring instances");
        let pinned = self.instances.iter().filter(|(number, instance)| {
            let busy = |place| matches!(place, Place::Busy(_) | Place::Left { .. });
            let busy = self.guests(**number).iter().any(|guest| busy(self.place(*guest)));
            instance.open && !instance.retiring && self.is_pinned(**number) && !busy
        });
        assert_eq!(snapshot.instances.pinned, pinned.count(), "pinned instances");
    }
}

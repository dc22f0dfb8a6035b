//! A pool in virtual time with a fake driver: inputs are calls, effects become lines of
//! a log, and after every input the pool is compared with the [`Ledger`], its second opinion.
//!
//! Requests and instances go by the numbers people see in logs, counted from 1.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "shared by test crates")]

mod account;
mod allocator;
mod driver;
pub mod ledger;
pub mod life;
mod quota;
mod rules;
mod spares;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use account::Account;
use ledger::Ledger;
use millpond_pool_core::expiration::{Asked, BoxExpiration, ExpirationContext, Expired};
use millpond_pool_core::state::{Claim, Effect, Permit, Pool};
use millpond_pool_core::{
    Failure, InstanceId, InstanceView, Limits, Load, MaxRequests, Refusal, RequestId,
};

pub const MS: Duration = Duration::from_millis(1);
pub const NEVER: Duration = Duration::MAX;

/// A request. It is never dropped while the rig lives, unless the pool drops it.
#[derive(Debug)]
pub struct Item {
    number: u64,
    _alive: Rc<()>,
}

/// What a policy was, or is to be, polled with.
#[derive(Debug)]
pub struct Polled {
    pub at: Duration,
    pub view: InstanceView,
    pub load: Load,
    pub asked: Asked,
    pub revision: u64,
}

pub struct Rig {
    pub pool: Pool<Item>,
    pub ledger: Ledger,
    /// Every poll of a policy so far.
    pub polls: Vec<Polled>,
    /// Leave the verdicts to the test.
    pub hold_verdicts: bool,
    base: Instant,
    log: Vec<String>,
    permits: Vec<Permit>,
    request_ids: BTreeMap<u64, RequestId>,
    ids: BTreeMap<u64, InstanceId>,
    /// The instance a request was last given to.
    given_to: BTreeMap<u64, u64>,
    /// Requests in the driver's hands, and those that came out for good.
    items: BTreeMap<u64, Item>,
    bin: Vec<Item>,
    alive: Rc<()>,
    policy: Option<fn() -> BoxExpiration>,
    policies: BTreeMap<u64, BoxExpiration>,
}

/// One request at a time, `instances` of them, any number of requests on each.
pub fn exclusive(instances: usize) -> Limits {
    let mut limits = Limits::default();
    limits.max_instances = instances;
    limits.max_requests = MaxRequests::unlimited();
    limits
}

/// `concurrency` requests at a time on each of `instances`.
pub fn shared(instances: usize, concurrency: usize) -> Limits {
    let mut limits = exclusive(instances);
    limits.concurrency = concurrency;
    limits
}

/// Limits with a change.
pub fn with(mut limits: Limits, change: impl FnOnce(&mut Limits)) -> Limits {
    change(&mut limits);
    limits
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Rig {
    pub fn new(limits: Limits) -> Self {
        Self::seeded(limits, 0)
    }

    pub fn seeded(limits: Limits, seed: u64) -> Self {
        let base = Instant::now();
        Self {
            pool: Pool::new(limits.clone(), seed),
            ledger: Ledger::new(base, limits),
            polls: Vec::new(),
            hold_verdicts: false,
            base,
            log: Vec::new(),
            permits: Vec::new(),
            request_ids: BTreeMap::new(),
            ids: BTreeMap::new(),
            given_to: BTreeMap::new(),
            items: BTreeMap::new(),
            bin: Vec::new(),
            alive: Rc::new(()),
            policy: None,
            policies: BTreeMap::new(),
        }
    }

    /// Each instance gets a policy of this make.
    pub fn policy(mut self, policy: fn() -> BoxExpiration) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Its instances count against a budget, which the test plays.
    pub fn budgeted(mut self) -> Self {
        self.pool = self.pool.with_budget();
        self.ledger.account = Some(Account::default());
        self
    }

    /// The newest claim.
    pub fn claim(&self) -> Claim {
        self.ledger.account.as_ref().expect("a pool with a budget").newest
    }

    /// The effects since the last call, each as a line.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The time since the rig was made.
    pub fn elapsed(&self) -> Duration {
        self.ledger.now - self.base
    }

    /// When the pool wants to look at the clock, as a time since the rig was made.
    pub fn timeout(&self) -> Option<Duration> {
        self.pool.poll_timeout().map(|at| at - self.base)
    }

    pub fn instant(&self, at: Duration) -> Instant {
        self.base + at
    }

    pub fn request_id(&self, request: u64) -> RequestId {
        self.request_ids[&request]
    }

    pub fn id(&self, instance: u64) -> InstanceId {
        self.ids[&instance]
    }

    /// The newest poll of an instance's policy: its view and revision.
    pub fn newest_poll(&self, instance: u64) -> &Polled {
        let of = self.polls.iter().rev().find(|polled| polled.view.id.number() == instance);
        of.expect("the policy was polled")
    }

    /// Carries out all effects, then checks what must always be true.
    fn settle(&mut self) {
        while let Some(effect) = self.pool.poll_effect() {
            self.carry_out(effect);
        }
        self.ledger.blame = 0;
        let snapshot = self.pool.snapshot();
        assert_eq!(snapshot.unaccounted(), 0, "{snapshot:?}");
        let live = snapshot.instances.live();
        let retired = (live - snapshot.instances.retiring) as u64 + snapshot.retired.total();
        assert_eq!(snapshot.starts, retired, "each instance has one reason, once it is retired");
        assert_eq!(snapshot.starts, (live + self.ledger.gone) as u64, "instances come and go");
        let submitted = usize::try_from(snapshot.submitted).unwrap();
        assert_eq!(Rc::strong_count(&self.alive) - 1, submitted, "the pool dropped a request");
        let here = snapshot.queued + snapshot.starting + snapshot.busy + snapshot.pinned;
        assert_eq!(self.pool.load(), here + snapshot.streaming + snapshot.abandoned);
        self.ledger.compare(&snapshot);
        self.ledger.check_permits(snapshot.permits_free, snapshot.permits_reserved);
        self.ledger.check_seats();
        self.ledger.plan_probe();
        let timeout = self.pool.poll_timeout();
        self.ledger.check_orphans(timeout);
        self.ledger.check_endings();
        self.ledger.check_spares(timeout);
        self.ledger.check_claim();
        if let Some(deadline) = self.ledger.first_deadline() {
            assert!(timeout.is_some_and(|at| at <= deadline), "a deadline is not looked at");
        }
    }

    fn carry_out(&mut self, effect: Effect<Item, ()>) {
        let line = match effect {
            Effect::Start { id, mode, request, .. } => {
                let on = id.number();
                assert!(self.ids.insert(on, id).is_none(), "instance {on} was started twice");
                let request = request.map(|(request_id, item)| self.keep(request_id, item, on));
                self.ledger.saw_start(on, mode, request);
                match request {
                    Some(request) => format!("start {on} for {request}"),
                    None => format!("start {on}"),
                }
            }
            Effect::Assign { id, request_id, item, .. } => {
                let (request, on) = (self.keep(request_id, item, id.number()), id.number());
                self.ledger.saw_assign(request, on);
                format!("assign {request} to {on}")
            }
            Effect::Refuse { request_id, item, refusal } => {
                assert_eq!(item.number, request_id.number());
                self.bin.push(item);
                self.ledger.saw_refuse(request_id.number(), refusal);
                format!("refuse {request_id}: {refusal}")
            }
            Effect::Fail { id, request_id, failure, .. } => {
                self.ledger.saw_fail(request_id.number(), id.number(), failure);
                match failure {
                    Failure::RequestTimeout => format!("fail {request_id}: request-timeout"),
                    Failure::StartTimeout => format!("fail {request_id}: start-timeout"),
                    Failure::Retired(reason) => format!("fail {request_id}: retired, {reason}"),
                    other => panic!("unknown failure {other:?}"),
                }
            }
            Effect::Retire { id, reason, .. } => {
                if let Some(instance) = self.ledger.instances.get_mut(&id.number()) {
                    assert!(!instance.retiring, "instance {id} was retired twice");
                    instance.retiring = true;
                    if instance.is_unused_spare() {
                        self.ledger.spare_lost(reason);
                    }
                }
                format!("retire {id}: {reason}")
            }
            Effect::Gone { .. } => {
                self.ledger.gone += 1;
                return;
            }
            Effect::Discard { item } => {
                let line = format!("discard {}", item.number);
                self.bin.push(item);
                line
            }
            Effect::Poll { view, limits, load, asked, revision, .. } => {
                self.polls.push(Polled {
                    at: self.elapsed(),
                    view: view.clone(),
                    load,
                    asked,
                    revision,
                });
                return self.poll_policy(view, &limits, load, revision);
            }
            Effect::Claim(claim) => return self.ledger.saw_claim(claim),
            other => panic!("unknown effect {other:?}"),
        };
        self.log.push(line);
    }

    /// The driver now has the request.
    fn keep(&mut self, request_id: RequestId, item: Item, on: u64) -> u64 {
        assert_eq!(item.number, request_id.number());
        self.items.insert(request_id.number(), item);
        self.given_to.insert(request_id.number(), on);
        request_id.number()
    }

    fn poll_policy(&mut self, view: InstanceView, limits: &Limits, load: Load, revision: u64) {
        self.ledger.check_view(&view);
        if self.hold_verdicts {
            return;
        }
        let Some(make) = self.policy else { return };
        let policy = self.policies.entry(view.id.number()).or_insert_with(make);
        let cx = ExpirationContext::new(self.ledger.now, &view, Waker::noop());
        let polled = cx.with_limits(limits).with_load(load).poll(Pin::new(policy));
        self.tell_verdict(view.id.number(), polled.verdict());
        self.pool.handle_verdict(self.ledger.now, view.id, revision, polled);
    }

    fn tell_verdict(&mut self, instance: u64, verdict: Poll<Expired>) {
        if let Poll::Ready(Expired::Drain(_)) = verdict {
            let known = self.ledger.instances.get_mut(&instance);
            known.expect("a live instance").closed = true;
        }
    }
}

/// What came of asking for a place.
pub type Reserved = Result<(), Refusal>;

//! The state machine: a queue of requests and a set of instances.

mod action;
mod admission;
mod allocator;
mod counts;
mod dispatch;
mod instance;
mod lease;
mod lifecycle;
mod random;
mod request;
mod seats;
mod spares;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::effect::Effect;
use crate::expiration::{Asked, Expired, Polled};
use crate::limits::Limits;
use crate::reason::{Reason, Refusal};
use crate::snapshot::Snapshot;
use crate::view::InstanceId;

pub(crate) use action::{Action, ToPoll};
use allocator::Allocator;
use counts::account::Account;
use counts::gauge::Gauges;
use instance::Instance;
use random::Random;
use request::Requests;
use spares::Spares;

/// A pool of instances and the requests that wait for them. No lock, waker or clock inside.
///
/// Inputs are `handle_*`, each with the time at which it happens. After one or more of them, drive
/// the outputs: [`poll_effect`](Pool::poll_effect) until it gives none, carrying each out; then ask
/// [`poll_timeout`](Pool::poll_timeout) when to call [`handle_timeout`](Pool::handle_timeout).
///
/// ```
/// use millpond_pool_core::state::{Effect, Pool};
/// use millpond_pool_core::{InstanceEvent, Limits};
/// use std::time::Instant;
///
/// let mut pool: Pool<&str> = Pool::new(Limits::default(), 0);
/// let now = Instant::now();
/// let permit = pool.handle_reserve().unwrap();
/// let request_id = pool.handle_submit(now, permit, "GET /");
///
/// // Nothing is live, so an instance is started for the request.
/// let Some(Effect::Start { id, request: Some((started_for, item)), .. }) = pool.poll_effect() else {
///     panic!()
/// };
/// assert_eq!((started_for, item), (request_id, "GET /"));
///
/// pool.handle_instance(now, id, InstanceEvent::Started);
/// assert!(pool.handle_responded(now, request_id));
/// pool.handle_instance(now, id, InstanceEvent::Ended(request_id));
/// pool.handle_instance(now, id, InstanceEvent::Quiet);
/// assert_eq!(pool.snapshot().responded, 1);
/// ```
///
/// `T` is what a request is to the driver of the pool. `H` is a handle to an instance: it is made with
/// [`Default`] together with the instance, and cloned into each effect that concerns it.
#[derive(Debug)]
pub struct Pool<T, H = ()> {
    limits: Arc<Limits>,
    random: Random,
    requests: Requests<T>,
    instances: Arena<Instance<H>>,
    /// Instances with room, the most recently used last.
    ready: BTreeSet<(u64, InstanceId)>,
    next_ready: u64,
    /// Requests for which there will be room: on instances that are settling, or are starting without
    /// being tied to a request. Any number of instances may have room for as many as can be counted.
    coming: u128,
    gauges: Gauges,
    timers: BTreeSet<(Instant, InstanceId)>,
    effects: VecDeque<Action<T, H>>,
    dirty: VecDeque<InstanceId>,
    /// Those whose policies look at the load.
    load_watchers: BTreeSet<InstanceId>,
    /// What they were last told.
    load_level: (bool, bool),
    reserved: usize,
    allocator: Allocator,
    spares: Spares,
    /// With a budget.
    account: Option<Account>,
    draining: bool,
    /// Since nothing waits, and the pool drains, those that were idle have been ended.
    swept: bool,
    /// The drain was cut short: nothing is started, what comes back is refused.
    stopped: bool,
    /// Counters only; the gauges are counted when asked for.
    counters: Snapshot,
}

impl<T, H: Clone + Default> Pool<T, H> {
    /// An empty pool. The seed is for the drawing of [`MaxRequests`](crate::MaxRequests).
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits: Arc::new(limits),
            random: Random(seed),
            requests: Requests::new(),
            instances: Arena::new(),
            ready: BTreeSet::new(),
            next_ready: 0,
            coming: 0,
            gauges: Gauges::default(),
            timers: BTreeSet::new(),
            effects: VecDeque::new(),
            dirty: VecDeque::new(),
            load_watchers: BTreeSet::new(),
            load_level: (false, false),
            reserved: 0,
            allocator: Allocator::default(),
            spares: Spares::default(),
            account: None,
            draining: false,
            swept: false,
            stopped: false,
            counters: Snapshot::default(),
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named. Calling it at any other
    /// time does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let refusal = self.late_refusal();
        while let Some((request_id, item)) = self.requests.take_overdue(now) {
            self.refuse(request_id, item, refusal);
        }
        self.probe(now);
        self.spares.look(now);
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(instance) = self.instances.get_mut(id.0) {
                instance.timer = None;
                self.fire(now, id);
            }
        }
        self.dispatch(now);
        self.retire_idle_if_drained(now);
    }

    /// Takes no more requests; what was submitted is served, and instances end once idle.
    pub fn handle_drain(&mut self, now: Instant) {
        self.draining = true;
        self.dispatch(now);
        self.retire_idle_if_drained(now);
    }

    /// Ends a drain: refuses what waits, retires what runs.
    pub fn handle_stop(&mut self, now: Instant) {
        self.draining = true;
        self.stopped = true;
        while let Some(request_id) = self.requests.queued_at(0) {
            self.refuse_queued(request_id, Refusal::Draining);
        }
        let all: Vec<_> = self.instances.iter().map(|(key, _)| InstanceId(key)).collect();
        for id in all {
            self.retire(now, id, Reason::Drain);
        }
        self.dispatch(now);
    }

    /// New limits. New instances follow at once, old ones on their next decision: what they may serve
    /// is drawn anew, idle ones beyond the limit end, busy ones when they become idle. Permits already
    /// given stay good, deadlines too, and no request is lost.
    pub fn handle_limits(&mut self, now: Instant, limits: Limits) {
        self.limits = Arc::new(limits);
        self.spares.rested();
        let all: Vec<_> = self.instances.iter().map(|(key, _)| InstanceId(key)).collect();
        for id in all {
            if let Some(instance) = self.instances.get_mut(id.0) {
                instance.quota = self.limits.max_requests.draw(instance.random);
                instance.steady_for = Duration::ZERO;
            }
            self.update(now, id);
        }
        self.retire_surplus_spares(now);
        self.dispatch(now);
        self.retire_idle_if_drained(now);
    }

    /// What an instance's policy said of the view with this revision, and what it asked for. A verdict on a view that is no longer the newest is ignored: the policy is
    /// being polled on a newer one.
    pub fn handle_verdict(&mut self, now: Instant, id: InstanceId, revision: u64, polled: Polled) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        if instance.revision != revision || !instance.is_live() {
            return;
        }
        // A policy that asks for the past would be polled without end.
        let soonest = now + Duration::from_millis(1);
        let wake = polled.wake_at.map(|at| at.max(soonest));
        instance.policy_wake = wake;
        instance.steady_for = polled.steady_for;
        let seen = instance.load_level;
        self.arm(id, wake);
        self.watch_load(id, polled.watches_load, seen);
        match polled.verdict {
            Poll::Ready(Expired::Retire(reason)) => self.retire(now, id, reason),
            Poll::Ready(Expired::Drain(reason)) => self.close(now, id, reason),
            // The instance is as it was.
            Poll::Pending => return,
        }
        self.dispatch(now);
        self.retire_idle_if_drained(now);
    }

    /// An instance's policy was woken: poll it again.
    pub fn handle_policy_wake(&mut self, id: InstanceId) {
        self.mark_dirty(id);
    }

    /// What to do next, if anything.
    pub fn poll_effect(&mut self) -> Option<Effect<T, H>> {
        if let Some(action) = self.effects.pop_front() {
            return Some(action.into());
        }
        self.poll_policy().or_else(|| self.poll_action().map(Effect::from))
    }

    /// Policies to be polled, as long as there are any.
    #[inline]
    pub(crate) fn poll_policy<E: From<ToPoll<H>>>(&mut self) -> Option<E> {
        self.tell_load_watchers();
        if self.dirty.is_empty() { None } else { self.next_poll() }
    }

    /// What else is to be done, once no policy is to be polled.
    #[inline]
    pub(crate) fn poll_action(&mut self) -> Option<Action<T, H>> {
        if self.account.is_some() && self.effects.is_empty() {
            self.settle_account();
        }
        self.effects.pop_front()
    }

    /// The next instance whose policy has not seen its newest view.
    fn next_poll<E: From<ToPoll<H>>>(&mut self) -> Option<E> {
        while let Some(id) = self.dirty.pop_front() {
            let load = self.load_now();
            let Some(instance) = self.instances.get_mut(id.0) else { continue };
            instance.dirty = false;
            instance.load_level = load.level();
            // Changes that come before the verdict are shown: they make it void.
            instance.steady_for = Duration::ZERO;
            if instance.is_live() {
                let view = instance.view(id, &self.requests);
                let (handle, revision) = (instance.handle.clone(), instance.revision);
                let limits = Arc::clone(&self.limits);
                let (wake_at, watches_load) = (instance.policy_wake, instance.watches_load);
                let asked = Asked { wake_at, watches_load };
                return Some(ToPoll { handle, view, limits, load, asked, revision }.into());
            }
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something else happens first.
    /// It may turn out that there was nothing to do yet.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = self.timers.first().map(|(at, _)| *at);
        let own = sooner(timers, self.requests.first_deadline());
        sooner(own, sooner(self.allocator.probe_at, self.spares_due()))
    }

    /// Requests between submission and the end of their body.
    pub fn load(&self) -> usize {
        self.requests.len()
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the pool takes no more requests.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether a drain has ended: no request and no instance is left.
    pub fn is_drained(&self) -> bool {
        self.draining && self.requests.len() == 0 && self.instances.is_empty()
    }
}

/// The earlier of two times; `None`: never.
#[inline]
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

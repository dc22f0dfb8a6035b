//! The asynchronous layer: the state machine behind one short lock.
//!
//! Every input takes the lock, changes the state, collects what is to be done, and does it after
//! the lock is released: effects go to the [`Driver`], wakers are woken, policies polled. No
//! foreign code (a policy, a hook, a waker, the drop of a request) runs under the lock.

mod budget;
mod drain_on_drop;
mod driver;
mod effect_queue;
mod lease;
mod permit_queue;
mod policy;
mod reaper;
mod runtime;
mod submitted;
mod waits;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

pub use budget::SharedBudget;
pub use drain_on_drop::DrainOnDrop;
pub use driver::{Driver, Instance, Start};
pub use lease::Lease;
pub use permit_queue::{OwnedPermit, Reserve};
pub use runtime::Runtime;
pub use submitted::Submitted;
pub use waits::{Drained, Warmed};

use crate::budget::{BudgetError, Share};
use crate::effect::InstanceEvent;
use crate::error::Error;
use crate::limits::Limits;
use crate::pool::{Action, Pool, ToPoll};
use crate::snapshot::Snapshot;
use crate::sync::{Mutex, lock};
use crate::view::{InstanceId, RequestId};

use budget::Membership;
use driver::Cell;
use effect_queue::EffectRunner;
use permit_queue::PermitQueue;
use reaper::{Reaper, ReaperState};
use waits::Waits;

/// A pool that is shared between tasks. Clones are the same pool.
pub struct PoolHandle<D: Driver>(Arc<Inner<D>>);

struct Inner<D: Driver> {
    driver: D,
    state: Mutex<State<D>>,
    /// Dropped last: until then the instances count, whose stores are dropped with the above.
    membership: Option<Membership>,
}

struct State<D: Driver> {
    pool: Pool<D::Item, Arc<Cell<D>>>,
    permits: PermitQueue,
    reaper: ReaperState,
    waits: Waits,
}

impl<D: Driver> PoolHandle<D> {
    /// A pool, and its reaper as a task of the driver's runtime. The seed is for the drawing of
    /// [`MaxRequests`](crate::MaxRequests) and of jitter.
    pub fn new(driver: D, limits: Limits, seed: u64) -> Self {
        Self::make(driver, None, Pool::new(limits, seed))
    }

    /// A pool whose instances count against a budget that it shares with others.
    ///
    /// # Errors
    ///
    /// If the budget has not enough left for what the pool is to be guaranteed.
    pub fn with_budget(
        driver: D,
        limits: Limits,
        seed: u64,
        budget: &SharedBudget,
        share: Share,
    ) -> Result<Self, BudgetError> {
        let membership = budget.join(share)?;
        Ok(Self::make(driver, Some(membership), Pool::new(limits, seed).with_budget()))
    }

    fn make(driver: D, membership: Option<Membership>, pool: Pool<D::Item, Arc<Cell<D>>>) -> Self {
        let state = State {
            pool,
            permits: PermitQueue::default(),
            reaper: ReaperState::default(),
            waits: Waits::default(),
        };
        let inner = Arc::new(Inner { driver, state: Mutex::new(state), membership });
        if let Some(membership) = &inner.membership {
            membership.enter(&inner);
        }
        // It looks at once: spares are started by that.
        let reaper = Reaper::new(Arc::downgrade(&inner));
        inner.driver.runtime().spawn(Box::pin(reaper));
        Self(inner)
    }

    /// The driver.
    pub fn driver(&self) -> &D {
        &self.0.driver
    }

    /// Returns a permit, if there is one now and no other caller waits for one.
    ///
    /// # Errors
    ///
    /// Overloaded or draining.
    pub fn try_reserve(&self) -> Result<OwnedPermit<D>, Error> {
        let mut state = lock(&self.0.state);
        // A place taken leads to nothing, for which there would be an effect.
        let State { pool, permits, .. } = &mut *state;
        let permit = permits.reserve(pool)?;
        drop(state);
        Ok(OwnedPermit::new(self.clone(), permit))
    }

    /// A request was turned away for want of a permit: counts it.
    pub fn record_rejection(&self) {
        lock(&self.0.state).pool.handle_overloaded();
    }

    /// Waits for a permit, first come, first served.
    pub fn reserve(&self) -> Reserve<D> {
        Reserve::new(self.clone())
    }

    /// Submits a request. Dropping what comes back cancels it.
    pub fn submit(&self, permit: OwnedPermit<D>, item: D::Item) -> Submitted<D> {
        let permit = permit.spend();
        let request_id = self.act(|pool, now| pool.handle_submit(now, permit, item));
        Submitted::new(self.clone(), request_id)
    }

    /// Submits a request that does not wait for a permit: what [`try_reserve`](Self::try_reserve) and
    /// [`submit`](Self::submit) do, in one.
    ///
    /// # Errors
    ///
    /// Overloaded or draining, with the request. As after [`try_reserve`](Self::try_reserve), nothing is
    /// counted: see [`record_rejection`](Self::record_rejection).
    pub fn try_submit(&self, item: D::Item) -> Result<Submitted<D>, (Error, D::Item)> {
        let now = self.0.driver.runtime().now();
        let submitted = self.with_permits(|pool, permits| match permits.reserve(pool) {
            Ok(permit) => Ok(pool.handle_submit(now, permit, item)),
            Err(refusal) => Err((refusal, item)),
        });
        match submitted {
            Ok(request_id) => Ok(Submitted::new(self.clone(), request_id)),
            Err((refusal, item)) => Err((refusal.into(), item)),
        }
    }

    /// Reports what happened to an instance.
    pub fn report(&self, id: InstanceId, event: InstanceEvent<D::Item>) {
        self.act(|pool, now| pool.handle_instance(now, id, event));
    }

    /// Reports several things that happened to an instance at the same time, in this order. What follows
    /// from them is done after the last, and the instance's policy sees what has become of it then.
    pub fn report_all<const N: usize>(&self, id: InstanceId, events: [InstanceEvent<D::Item>; N]) {
        self.act(|pool, now| {
            for event in events {
                pool.handle_instance(now, id, event);
            }
        });
    }

    /// A frame of a response body moved. It comes often, and nothing follows from it, so nothing is
    /// looked for.
    fn progress(&self, id: InstanceId, request_id: RequestId) {
        let now = self.0.driver.runtime().now();
        let event = InstanceEvent::Progress(request_id);
        lock(&self.0.state).pool.handle_instance(now, id, event);
    }

    /// A guest has a response head. If this is true, give it to the caller; if not, drop it.
    #[must_use]
    pub fn responded(&self, request_id: RequestId) -> bool {
        self.act(|pool, now| pool.handle_responded(now, request_id))
    }

    /// Changes the limits of the running pool.
    pub fn set_limits(&self, limits: Limits) {
        self.act(|pool, now| pool.handle_limits(now, limits));
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        lock(&self.0.state).pool.limits().clone()
    }

    /// Changes the pool's part in its budget; without one, does nothing.
    ///
    /// # Errors
    ///
    /// If the guarantees of the budget's pools together would be more than it has.
    pub fn set_share(&self, share: Share) -> Result<(), BudgetError> {
        self.0.membership.as_ref().map_or(Ok(()), |membership| membership.share(share))
    }

    /// Whether as many instances have started as spares are to be kept, or there is nothing to wait for.
    pub fn is_warmed(&self) -> bool {
        lock(&self.0.state).pool.is_warmed()
    }

    /// Ends when as many instances have started as spares are to be kept ([`Limits::min_idle`]), also if
    /// requests have taken some of them, or when the pool drains. Without spares, that is now. Where the
    /// allocator or a budget holds fewer, it ends when that changes.
    pub fn warmed(&self) -> Warmed<D> {
        Warmed::new(self.clone())
    }

    /// All gauges and counters, of one moment.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.0.state).pool.snapshot()
    }

    /// Requests between submission and the end of their body.
    pub fn load(&self) -> usize {
        lock(&self.0.state).pool.load()
    }

    /// Takes no more requests, serves what was submitted, and ends all instances. The future ends
    /// when that is done; the drain goes on without it.
    pub fn drain(&self) -> Drained<D> {
        self.act(|pool, now| pool.handle_drain(now));
        Drained::new(self.clone())
    }

    /// Cuts a drain short: refuses what waits and retires what runs.
    pub fn stop(&self) {
        self.act(|pool, now| pool.handle_stop(now));
    }

    /// Changes the state, then does what follows from it.
    fn act<R>(&self, change: impl FnOnce(&mut Pool<D::Item, Arc<Cell<D>>>, Instant) -> R) -> R {
        let now = self.0.driver.runtime().now();
        self.with_permits(|pool, _| change(pool, now))
    }

    fn with_permits<R>(
        &self,
        change: impl FnOnce(&mut Pool<D::Item, Arc<Cell<D>>>, &mut PermitQueue) -> R,
    ) -> R {
        let mut todo = Todo::nothing();
        let result = self.change(&mut todo, change);
        if todo.first.is_some() || todo.poll.is_some() {
            let Todo { first, others, poll } = &mut todo;
            effect_queue::run(self, first, others, || {
                if let Some(poll) = poll {
                    self.poll_policy(poll);
                }
            });
        }
        result
    }

    /// Changes the state, wakes who is to be woken, and gives out the rest of what is to be done.
    fn change<R>(
        &self,
        todo: &mut Todo<D>,
        change: impl FnOnce(&mut Pool<D::Item, Arc<Cell<D>>>, &mut PermitQueue) -> R,
    ) -> R {
        let mut wakers = Vec::new();
        let mut state = lock(&self.0.state);
        let State { pool, permits, reaper, waits } = &mut *state;
        let result = change(pool, permits);
        todo.take_from(pool);
        permits.grant(pool, &mut wakers);
        if let Some(reaper) = reaper.rouse_for(pool.poll_timeout()) {
            wakers.push(reaper);
        }
        waits.end(pool, &mut wakers);
        drop(state);
        if !wakers.is_empty() {
            wakers.into_iter().for_each(Waker::wake);
        }
        result
    }

    fn poll_policy(&self, poll: &ToPoll<Arc<Cell<D>>>) {
        let ToPoll { handle, view, limits, load, asked, revision } = poll;
        let polled = handle.policy.poll(&self.0, view, limits, *load, *revision);
        let Some(polled) = polled.filter(|polled| polled.adds_to(*asked)) else { return };
        let now = self.0.driver.runtime().now();
        let mut todo = Todo::nothing();
        self.change(&mut todo, |pool, _| pool.handle_verdict(now, view.id, *revision, polled));
        if todo.first.is_some() || todo.poll.is_some() {
            // To poll at once what this leads to could go on ever deeper.
            let Todo { first, others, poll } = &mut todo;
            others.extend(poll.take().map(Action::from));
            effect_queue::run(self, first, others, || {});
        }
    }
}

/// What is to be done after a change. Mostly there is no more than one of each, for which nothing is
/// allocated.
struct Todo<D: Driver> {
    first: Option<Action<D::Item, Arc<Cell<D>>>>,
    others: Vec<Action<D::Item, Arc<Cell<D>>>>,
    poll: Option<ToPoll<Arc<Cell<D>>>>,
}

impl<D: Driver> Todo<D> {
    fn nothing() -> Self {
        Self { first: None, others: Vec::new(), poll: None }
    }

    fn take_from(&mut self, pool: &mut Pool<D::Item, Arc<Cell<D>>>) {
        // Not moved where there is none: they are large.
        if let Some(poll) = pool.poll_policy::<ToPoll<_>>() {
            self.poll = Some(poll);
            while let Some(poll) = pool.poll_policy() {
                self.others.push(poll);
            }
        }
        if let Some(action) = pool.poll_action() {
            self.first = Some(action);
            while let Some(action) = pool.poll_action() {
                self.others.push(action);
            }
        }
    }
}

impl<D: Driver> EffectRunner for PoolHandle<D> {
    type Effect = Action<D::Item, Arc<Cell<D>>>;

    fn run(&self, effect: Self::Effect) {
        let driver = &self.0.driver;
        match effect {
            Action::Start { id, handle, mode, request } => {
                driver.start(self, Instance { id, cell: handle }, Start { mode, request });
            }
            Action::Assign { id, handle, request_id, item } => {
                driver.assign(self, Instance { id, cell: handle }, request_id, item);
            }
            Action::Refuse { request_id, item, refusal } => {
                driver.refuse(request_id, item, refusal)
            }
            Action::Fail { id, handle, request_id, failure } => {
                driver.fail(Instance { id, cell: handle }, request_id, failure);
            }
            Action::Retire { id, handle, reason } => {
                driver.retire(self, Instance { id, cell: handle }, reason);
            }
            Action::Gone { handle } => drop(handle),
            Action::Discard { item } => drop(item),
            Action::Poll(poll) => self.poll_policy(&poll),
            Action::Claim(claim) => {
                if let Some(membership) = &self.0.membership {
                    membership.claim(*claim);
                }
            }
        }
    }
}

impl<D: Driver> Clone for PoolHandle<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Driver> fmt::Debug for PoolHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolHandle").finish_non_exhaustive()
    }
}

impl<D: Driver> Drop for Inner<D> {
    fn drop(&mut self) {
        // The reaper ends when it finds the pool gone.
        let reaper = lock(&self.state).reaper.rouse();
        if let Some(reaper) = reaper {
            reaper.wake();
        }
    }
}

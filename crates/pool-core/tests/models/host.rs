//! The world of the models: a driver whose guests do nothing of themselves, and those who play
//! its guests.

mod budget_fixture;
mod journal;
mod play;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use millpond_pool_core::expiration::{BoxExpiration, boxed, from_fn};
use millpond_pool_core::{
    Driver, Failure, Instance, InstanceEvent, InstanceId, Limits, MaxRequests, PoolHandle, Reason,
    Refusal, RequestId, Start,
};

pub(crate) use budget_fixture::BudgetFixture;
pub(crate) use journal::{Life, Told};
pub(crate) use play::{
    answer, begun, check_empty, fail, finish, finish_abandoned, finish_in_one, handed_over, pinned,
    release, release_with, reserve, submit,
};

use budget_fixture::Store;
use journal::{Guest, Journal};

pub(crate) use crate::clock::secs;
use crate::clock::{Clock, Task};
use crate::mode::thread::{self, JoinHandle};
use crate::mode::{Mutex, block_on};

pub(crate) type Pool = PoolHandle<Host>;

/// One instance that takes one request after another.
pub(crate) fn exclusive() -> Limits {
    let mut limits = Limits::default();
    limits.max_instances = 1;
    limits.max_queue = 4;
    limits.max_requests = MaxRequests::unlimited();
    limits
}

/// One instance that takes two requests at a time.
pub(crate) fn shared() -> Limits {
    let mut limits = exclusive();
    limits.concurrency = 2;
    limits
}

/// A pool, and its reaper, which runs nowhere yet.
pub(crate) fn pool(limits: Limits) -> (Pool, Task) {
    pool_with(limits, || boxed(from_fn(|_| Poll::Pending)))
}

/// The same, with a policy for its instances.
pub(crate) fn pool_with(
    limits: Limits,
    policy: impl Fn() -> BoxExpiration + Send + Sync + 'static,
) -> (Pool, Task) {
    Host::new(limits).policy(policy).open()
}

/// Runs the reaper on a thread of its own. It ends once the pool is gone: join it.
pub(crate) fn run(reaper: Task) -> JoinHandle<()> {
    thread::spawn(move || block_on(reaper))
}

/// Runs the reaper until it would sleep.
pub(crate) fn step(reaper: &mut Task) {
    assert!(poll_once(reaper).is_pending(), "the reaper lives as long as its pool");
}

/// Drops a handle at any moment in the life of the others. Only steps of the model are tried in
/// all orders, and dropping a handle that is not the last is none: looking at the pool is.
pub(crate) fn let_go(pool: Pool) {
    pool.load();
    drop(pool);
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_with(Waker::noop(), future)
}

pub(crate) fn poll_with<F: Future + Unpin>(waker: &Waker, future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A request; the pool lets go of it in the end.
pub(crate) type Item = Arc<Request>;

/// One that was given a pool looks at it when dropped: under the pool's lock, that is a deadlock.
#[derive(Default)]
pub(crate) struct Request(pub(crate) Option<Pool>);

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.load();
        }
    }
}

/// Keeps the contract of a driver, and a journal of what it was told. Every call is a step of the
/// model before it takes effect, so that effects overtake each other.
pub(crate) struct Host {
    pub(crate) clock: Clock,
    limits: Limits,
    policy: Box<dyn Fn() -> BoxExpiration + Send + Sync>,
    begin: Box<dyn Fn() -> Begin + Send + Sync>,
    fixture: Option<BudgetFixture>,
    journal: Arc<Mutex<Journal>>,
    /// Where requests were handed to, for leases. Not in the journal, which may outlive the pool.
    given: Option<std::sync::Mutex<BTreeMap<RequestId, Instance<Host>>>>,
}

/// What comes of a start, before the driver returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    Started,
    /// Nothing yet: see [`begun`].
    Later,
    Failed,
    #[cfg(not(any(loom, shuttle)))]
    Panic,
}

impl Host {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            clock: Clock::default(),
            limits,
            policy: Box::new(|| boxed(from_fn(|_| Poll::Pending))),
            begin: Box::new(|| Begin::Started),
            fixture: None,
            journal: Arc::default(),
            given: None,
        }
    }

    /// With this policy for its instances.
    pub(crate) fn policy(
        mut self,
        policy: impl Fn() -> BoxExpiration + Send + Sync + 'static,
    ) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Instances begin like this.
    pub(crate) fn begin(mut self, begin: impl Fn() -> Begin + Send + Sync + 'static) -> Self {
        self.begin = Box::new(begin);
        self
    }

    /// With leases for its requests: see [`pinned`].
    pub(crate) fn leased(mut self) -> Self {
        self.given = Some(std::sync::Mutex::default());
        self
    }

    /// Its pool, and the pool's reaper, which runs nowhere yet.
    pub(crate) fn open(self) -> (Pool, Task) {
        let (clock, limits) = (self.clock.clone(), self.limits.clone());
        let pool = PoolHandle::new(self, limits, 0);
        (pool, clock.spawned().expect("a pool spawns its reaper"))
    }

    /// Writes in the journal, and wakes who reads it.
    fn write<R>(&self, entry: impl FnOnce(&mut Journal) -> R) -> R {
        let (written, readers) = {
            let mut journal = self.journal.lock().unwrap();
            (entry(&mut journal), std::mem::take(&mut journal.readers))
        };
        readers.into_iter().for_each(Waker::wake);
        written
    }

    /// Waits until the journal has an answer.
    pub(crate) async fn read<R>(&self, answer: impl Fn(&Journal) -> Option<R>) -> R {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut journal = self.journal.lock().unwrap();
            match answer(&journal) {
                Some(answer) => Poll::Ready(answer),
                None => {
                    journal.readers.push(waker);
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn tell(&self, request_id: RequestId, told: Told) {
        self.write(|journal| {
            assert_eq!(journal.told(request_id), None, "{request_id:?} was told again: {told:?}");
            journal.told.push((request_id, told));
        });
    }

    /// What the caller was told.
    pub(crate) fn told(&self, request_id: RequestId) -> Option<Told> {
        self.journal.lock().unwrap().told(request_id)
    }

    /// Waits until the caller is told.
    pub(crate) async fn hear(&self, request_id: RequestId) -> Told {
        self.read(|journal| journal.told(request_id)).await
    }

    /// All there are, told to end or not.
    pub(crate) fn guests(&self) -> Vec<InstanceId> {
        self.journal.lock().unwrap().guests.keys().copied().collect()
    }

    /// Waits until there is no guest.
    pub(crate) async fn empty(&self) {
        self.read(|journal| journal.guests.is_empty().then_some(())).await;
    }

    /// Which guest has the request.
    pub(crate) fn holder(&self, request_id: RequestId) -> Option<InstanceId> {
        self.journal.lock().unwrap().holder(request_id)
    }

    fn start_failed(&self, pool: &Pool, instance: &Instance<Self>) {
        let guest = self.journal.lock().unwrap().guests.remove(&instance.id());
        // It may have been told to end meanwhile.
        let Some(guest) = guest else { return };
        instance.slot().unmake();
        for (request_id, _) in &guest.holds {
            self.tell(*request_id, Told::Refused(Refusal::StartFailed));
        }
        drop(guest);
        pool.report(instance.id(), InstanceEvent::StartFailed);
    }

    fn note_given(&self, request_id: RequestId, instance: &Instance<Self>) {
        if let Some(given) = &self.given {
            given.lock().unwrap().insert(request_id, instance.clone());
        }
    }

    /// Its guest lets go of the request. True: it has no other.
    fn release(&self, id: InstanceId, request_id: RequestId) -> bool {
        let mut journal = self.journal.lock().unwrap();
        let Some(guest) = journal.guests.get_mut(&id) else { return false };
        guest.holds.retain(|(other, _)| *other != request_id);
        guest.holds.is_empty()
    }

    /// The journal, also for when the pool is gone.
    #[cfg(not(loom))]
    pub(crate) fn journal(&self) -> Arc<Mutex<Journal>> {
        Arc::clone(&self.journal)
    }
}

impl Driver for Host {
    type Item = Item;
    type Slot = Store;
    type Runtime = Clock;

    fn runtime(&self) -> &Clock {
        &self.clock
    }

    fn expiration(&self, _: InstanceId) -> BoxExpiration {
        (self.policy)()
    }

    fn start(&self, pool: &Pool, instance: Instance<Self>, start: Start<Item>) {
        let id = instance.id();
        if let Some((request_id, _)) = &start.request {
            self.note_given(*request_id, &instance);
        }
        let begin = (self.begin)();
        #[cfg(not(any(loom, shuttle)))]
        assert!(begin != Begin::Panic, "a driver that panics");
        instance.slot().make(self.fixture.as_ref());
        let stillborn = {
            let mut journal = self.journal.lock().unwrap();
            if journal.guests.remove(&id).is_some_and(|guest| guest.life == Life::Stillborn) {
                true
            } else {
                let holds = start.request.into_iter().collect();
                journal.guests.insert(id, Guest { life: Life::Starting, holds });
                let live = journal.guests.values().filter(|guest| guest.life != Life::Stillborn);
                assert!(live.count() <= self.limits.max_instances, "more than the limit");
                false
            }
        };
        if stillborn {
            instance.slot().unmake();
            return pool.report(id, InstanceEvent::Dropped);
        }
        match begin {
            Begin::Started => begun(pool, id),
            Begin::Failed => self.start_failed(pool, &instance),
            _ => {}
        }
    }

    fn assign(&self, pool: &Pool, instance: Instance<Self>, request_id: RequestId, item: Item) {
        self.note_given(request_id, &instance);
        let id = instance.id();
        let mut item = Some(item);
        self.write(|journal| {
            if let Some(guest) = journal.guests.get_mut(&id) {
                guest.holds.extend(item.take().map(|item| (request_id, item)));
                assert!(guest.holds.len() <= self.limits.concurrency, "more than it may take");
            }
        });
        match item {
            Some(item) => pool.report(id, InstanceEvent::Returned(request_id, item)),
            // A shared guest waits for something at once.
            None if self.limits.concurrency > 1 => pool.report(id, InstanceEvent::Settled),
            None => {}
        }
    }

    fn refuse(&self, request_id: RequestId, _: Item, refusal: Refusal) {
        self.tell(request_id, Told::Refused(refusal));
    }

    fn fail(&self, _: Instance<Self>, request_id: RequestId, failure: Failure) {
        self.tell(request_id, Told::Failed(failure));
    }

    fn retire(&self, pool: &Pool, instance: Instance<Self>, _: Reason) {
        let id = instance.id();
        let guest = self.write(|journal| {
            let guest = journal.guests.remove(&id);
            if guest.is_none() {
                journal.guests.insert(id, Guest { life: Life::Stillborn, holds: Vec::new() });
            }
            guest
        });
        if guest.is_some() {
            drop(guest);
            instance.slot().unmake();
            pool.report(id, InstanceEvent::Dropped);
        }
    }
}

//! The world of the models: a clock that is set by hand, and a driver whose guests do nothing of
//! themselves.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use loom::future::block_on;
use loom::sync::Mutex;
use loom::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use loom::thread::{self, JoinHandle};
use millpond_pool_core::expiration::{BoxExpiration, boxed, from_fn};
use millpond_pool_core::{
    Driver, Failure, Instance, InstanceEvent, InstanceId, Limits, MaxRequests, OwnedPermit,
    PoolHandle, Reason, Refusal, Runtime, Submitted, Ticket,
};

pub(crate) type Pool = PoolHandle<Host>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

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
    let host = Host {
        clock: Clock::default(),
        limits: limits.clone(),
        policy: Box::new(policy),
        book: Mutex::default(),
    };
    let clock = host.clock.clone();
    let pool = PoolHandle::new(host, limits, 0);
    let reaper = clock.0.spawned.lock().unwrap().take();
    (pool, reaper.expect("a pool spawns its reaper"))
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

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A clock that is set by hand.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Time>);

#[derive(Default)]
struct Time {
    secs: AtomicU64,
    sleepers: Mutex<Vec<(Instant, Waker)>>,
    spawned: std::sync::Mutex<Option<Task>>,
}

impl Clock {
    pub(crate) fn set(&self, secs: u64) {
        self.0.secs.store(secs, Release);
        let now = self.now();
        let due: Vec<_> = {
            let mut sleepers = self.0.sleepers.lock().unwrap();
            sleepers.extract_if(.., |(at, _)| *at <= now).collect()
        };
        for (_, waker) in due {
            waker.wake();
        }
    }
}

impl Runtime for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now) + secs(self.0.secs.load(Acquire))
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: Arc::downgrade(&self.0), at }
    }

    fn spawn(&self, task: Task) {
        *self.0.spawned.lock().unwrap() = Some(task);
    }
}

pub(crate) struct Sleep {
    clock: Weak<Time>,
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = Clock(self.clock.upgrade().expect("the pool keeps the clock"));
        let waker = cx.waker().clone();
        let mut sleepers = clock.0.sleepers.lock().unwrap();
        if self.at <= clock.now() {
            return Poll::Ready(());
        }
        sleepers.push((self.at, waker));
        Poll::Pending
    }
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

/// Keeps the contract of a driver, and a book of what it was told. Every call is a step of the
/// model before it takes effect, so that effects overtake each other.
pub(crate) struct Host {
    pub(crate) clock: Clock,
    limits: Limits,
    policy: Box<dyn Fn() -> BoxExpiration + Send + Sync>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    guests: BTreeMap<InstanceId, Guest>,
    told: Vec<(Ticket, Told)>,
    /// Who waits for something to be told.
    listeners: Vec<Waker>,
}

#[derive(Default)]
struct Guest {
    /// Told to end before it was told to start.
    stillborn: bool,
    holds: Vec<(Ticket, Item)>,
}

/// What a caller was told instead of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Refused(Refusal),
    Failed(Failure),
}

impl Host {
    fn tell(&self, ticket: Ticket, told: Told) {
        let listeners = {
            let mut book = self.book.lock().unwrap();
            let before = book.told.iter().find(|(other, _)| *other == ticket);
            assert_eq!(before, None, "{ticket:?} was told again: {told:?}");
            book.told.push((ticket, told));
            std::mem::take(&mut book.listeners)
        };
        listeners.into_iter().for_each(Waker::wake);
    }

    /// What the caller was told.
    pub(crate) fn told(&self, ticket: Ticket) -> Option<Told> {
        let book = self.book.lock().unwrap();
        book.told.iter().find(|(other, _)| *other == ticket).map(|(_, told)| *told)
    }

    /// Waits until the caller is told.
    pub(crate) async fn hear(&self, ticket: Ticket) -> Told {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut book = self.book.lock().unwrap();
            match book.told.iter().find(|(other, _)| *other == ticket) {
                Some((_, told)) => Poll::Ready(*told),
                None => {
                    book.listeners.push(waker);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Which guest has the request.
    pub(crate) fn holder(&self, ticket: Ticket) -> Option<InstanceId> {
        let book = self.book.lock().unwrap();
        let mut holders = book.guests.iter().filter(|(_, guest)| guest.has(ticket));
        let holder = holders.next().map(|(id, _)| *id);
        assert_eq!(holders.next().map(|(id, _)| *id), None, "{ticket:?} was handed out twice");
        holder
    }

    /// Its guest lets go of the request. True: it has no other.
    fn release(&self, id: InstanceId, ticket: Ticket) -> bool {
        let mut book = self.book.lock().unwrap();
        let Some(guest) = book.guests.get_mut(&id) else { return false };
        guest.holds.retain(|(other, _)| *other != ticket);
        guest.holds.is_empty()
    }
}

impl Guest {
    fn has(&self, ticket: Ticket) -> bool {
        self.holds.iter().any(|(other, _)| *other == ticket)
    }
}

impl Driver for Host {
    type Item = Item;
    type Slot = ();
    type Runtime = Clock;

    fn runtime(&self) -> &Clock {
        &self.clock
    }

    fn expiration(&self, _: InstanceId) -> BoxExpiration {
        (self.policy)()
    }

    fn start(&self, pool: &Pool, instance: Instance<Self>, request: Option<(Ticket, Item)>) {
        let id = instance.id();
        let stillborn = {
            let mut book = self.book.lock().unwrap();
            if book.guests.remove(&id).is_some_and(|guest| guest.stillborn) {
                true
            } else {
                let holds = request.into_iter().collect();
                book.guests.insert(id, Guest { stillborn: false, holds });
                let live = book.guests.values().filter(|guest| !guest.stillborn).count();
                assert!(live <= self.limits.max_instances, "more instances than the limit");
                false
            }
        };
        pool.report(id, if stillborn { InstanceEvent::Dropped } else { InstanceEvent::Started });
    }

    fn assign(&self, pool: &Pool, instance: Instance<Self>, ticket: Ticket, item: Item) {
        let id = instance.id();
        let mut item = Some(item);
        {
            let mut book = self.book.lock().unwrap();
            if let Some(guest) = book.guests.get_mut(&id) {
                guest.holds.extend(item.take().map(|item| (ticket, item)));
                assert!(guest.holds.len() <= self.limits.concurrency, "more than it may take");
            }
        }
        match item {
            Some(item) => pool.report(id, InstanceEvent::Returned(ticket, item)),
            // A shared guest waits for something at once.
            None if self.limits.concurrency > 1 => pool.report(id, InstanceEvent::Settled),
            None => {}
        }
    }

    fn refuse(&self, ticket: Ticket, _: Item, refusal: Refusal) {
        self.tell(ticket, Told::Refused(refusal));
    }

    fn fail(&self, _: Instance<Self>, ticket: Ticket, failure: Failure) {
        self.tell(ticket, Told::Failed(failure));
    }

    fn retire(&self, pool: &Pool, instance: Instance<Self>, _: Reason) {
        let id = instance.id();
        let guest = {
            let mut book = self.book.lock().unwrap();
            let guest = book.guests.remove(&id);
            if guest.is_none() {
                book.guests.insert(id, Guest { stillborn: true, holds: Vec::new() });
            }
            guest
        };
        if guest.is_some() {
            drop(guest);
            pool.report(id, InstanceEvent::Dropped);
        }
    }
}

pub(crate) fn reserve(pool: &Pool) -> OwnedPermit<Host> {
    pool.try_reserve().expect("a permit is free")
}

pub(crate) fn submit(pool: &Pool) -> Submitted<Host> {
    pool.submit(reserve(pool), Item::default())
}

/// The guest that has the request answers it: head, body, quiet. False: no guest has it, or
/// nobody waits for it.
pub(crate) fn answer(mut request: Submitted<Host>) -> bool {
    let pool = request.pool().clone();
    let Some(on) = pool.driver().holder(request.ticket()) else { return false };
    if !pool.responded(request.ticket()) {
        return false;
    }
    finish(&mut request, on);
    true
}

/// A guest goes on with a request that its caller left, and comes to its end.
pub(crate) fn finish_abandoned(pool: &Pool, ticket: Ticket) {
    let Some(on) = pool.driver().holder(ticket) else { return };
    assert!(!pool.responded(ticket), "nobody waits for it");
    if pool.driver().release(on, ticket) {
        pool.report(on, InstanceEvent::Quiet);
    }
}

/// The body of a response has ended.
pub(crate) fn finish(request: &mut Submitted<Host>, on: InstanceId) {
    let pool = request.pool().clone();
    let quiet = pool.driver().release(on, request.ticket());
    request.ended(on);
    if quiet {
        pool.report(on, InstanceEvent::Quiet);
    }
}

/// Nothing is left of any request, and each had one outcome.
pub(crate) fn check_empty(pool: &Pool) {
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.unaccounted(), 0, "{snapshot:?}");
    assert_eq!(pool.load(), 0, "{snapshot:?}");
    assert_eq!(snapshot.permits_reserved, 0, "{snapshot:?}");
    let instances = &snapshot.instances;
    assert_eq!(instances.live(), instances.idle, "{snapshot:?}");
    let book = pool.driver().book.lock().unwrap();
    assert_eq!(book.guests.len(), instances.live(), "the driver agrees");
    assert!(book.guests.values().all(|guest| !guest.stillborn && guest.holds.is_empty()));
}

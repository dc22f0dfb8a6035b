//! What the driver keeps of an instance: where its guest is, and which callers wait for answers.
//!
//! An instance's *run* is a future that owns the guest: it starts the guest, gives it work, and
//! gives it back at the end. The run sits in the slot's [`InstanceCell`], where several tasks can drive it: the
//! request it serves, that request's body, or a worker. A stopped run gives its guest back at once,
//! with the store, so that the hook sees it.

mod helper;
mod teardown;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;
use millpond_engine::lock;
use millpond_pool_core::cell::{Inbox, InstanceCell, WakeState};
use millpond_pool_core::{Instance, InstanceEvent, PoolHandle, Reason, RequestId, Usage};

pub(crate) use helper::Helper;
pub(crate) use teardown::end;

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::body_cell::BodyCell;
use crate::instance::guest::Guest;
use crate::instance::reply::{Job, Reply};

/// What the driver keeps of an instance.
pub struct Slot<H: Host> {
    cell: InstanceCell<Run<H>, Guest<H>>,
    /// The task that drives the run, if it is one of its own.
    task: AtomicWaker,
    /// For an instance that takes several requests at a time, with what its guest wakes.
    wake_state: OnceLock<(Arc<WakeState>, Waker)>,
    /// For a shared instance: the requests that it has been given and has not yet begun.
    inbox: Inbox<(RequestId, Job<H>)>,
    /// The callers that wait for an answer from it.
    waiting: Mutex<Vec<(RequestId, Arc<Reply<H>>)>>,
    /// The open response bodies. Weak: a reader may drop its body at any time.
    bodies: Mutex<Vec<Weak<BodyCell>>>,
    /// For a shared instance: it was given something since it last waited.
    unsettled: AtomicBool,
    /// What broke it.
    error: OnceLock<Arc<wasmtime::Error>>,
}

/// The future that owns a guest.
pub(crate) type Run<H> = Pin<Box<dyn Future<Output = RunEnd<H>> + Send>>;

/// How a run ended.
pub(crate) struct RunEnd<H: Host> {
    /// Its guest, if that is there: for the next request, or to be seen at its end.
    guest: Option<Guest<H>>,
    report: EndReport<H>,
}

/// What the pool is told of a run's end: what the guest holds, if that has changed, and the event.
type EndReport<H> = (Option<Usage>, Option<InstanceEvent<Job<H>>>);

impl<H: Host> RunEnd<H> {
    /// It waits for its first request.
    pub(crate) fn started(guest: Guest<H>) -> Self {
        Self { guest: Some(guest), report: (None, Some(InstanceEvent::Started)) }
    }

    /// The guest works on nothing any more.
    pub(crate) fn quiet(mut guest: Guest<H>) -> Self {
        let usage = guest.usage();
        Self { guest: Some(guest), report: (usage, Some(InstanceEvent::Quiet)) }
    }

    /// It must not be used again.
    pub(crate) fn broken(guest: Guest<H>, reason: Reason) -> Self {
        let event = InstanceEvent::Broken(reason);
        Self { report: (None, Some(event)), ..Self::shut_down(Some(guest)) }
    }

    /// It was told to end.
    pub(crate) fn shut_down(mut guest: Option<Guest<H>>) -> Self {
        // Its end depends on how large it is.
        guest.as_mut().map(Guest::usage);
        Self { guest, report: (None, None) }
    }

    /// It did not start. The event says how.
    pub(crate) fn not_started(event: InstanceEvent<Job<H>>) -> Self {
        Self { guest: None, report: (None, Some(event)) }
    }

    fn into_parts(self) -> (Option<Guest<H>>, EndReport<H>) {
        (self.guest, self.report)
    }
}

impl<H: Host> Default for Slot<H> {
    fn default() -> Self {
        Self {
            cell: InstanceCell::default(),
            task: AtomicWaker::new(),
            wake_state: OnceLock::new(),
            inbox: Inbox::default(),
            waiting: Mutex::default(),
            bodies: Mutex::default(),
            unsettled: AtomicBool::new(false),
            error: OnceLock::new(),
        }
    }
}

impl<H: Host> Slot<H> {
    /// Begins the instance's first run. Gives it back if the instance has been ended before it began.
    pub(crate) fn begin(&self, run: Run<H>, shared: bool) -> Result<u64, Run<H>> {
        if shared {
            let wake_state = WakeState::new();
            let waker = Waker::from(Arc::clone(&wake_state));
            let _ = self.wake_state.set((wake_state, waker));
        }
        self.cell.begin(run)
    }

    /// Begins another run with the parked guest. `None`: there is none.
    pub(crate) fn resume(&self, make: impl FnOnce(Guest<H>) -> Run<H>) -> Option<()> {
        self.cell.resume(make).map(drop)
    }

    pub(crate) fn run_number(&self) -> u64 {
        self.cell.run_number()
    }

    /// Whether this run has something left to do.
    pub(crate) fn is_running(&self, run: u64) -> bool {
        self.cell.is_running(run)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.wake_state.get().is_some()
    }

    pub(crate) fn begin_shutdown(&self, reason: Reason) {
        self.cell.begin_shutdown(reason);
    }

    /// Has the worker of a shared instance look at it, if there is one.
    fn wake_worker(&self) {
        if let Some((_, waker)) = self.wake_state.get() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn shutdown_reason(&self) -> Option<Reason> {
        self.cell.shutdown_reason()
    }

    pub(crate) fn set_error(&self, error: Arc<wasmtime::Error>) {
        let _ = self.error.set(error);
    }

    pub(crate) fn error(&self) -> Option<&Arc<wasmtime::Error>> {
        self.error.get()
    }

    /// Hands a request to a shared instance. An instance that has ended gives it back.
    ///
    /// Does not wake the worker: the caller becomes a [`Helper`], or calls
    /// [`wake_worker_if_alone`](Self::wake_worker_if_alone).
    pub(crate) fn put(&self, request_id: RequestId, job: Job<H>) -> Result<(), Job<H>> {
        if self.shutdown_reason().is_some() {
            return Err(job);
        }
        self.inbox.put((request_id, job)).map_err(|(_, job)| job)?;
        if let Some((wake_state, _)) = self.wake_state.get() {
            wake_state.mark_ready();
        }
        Ok(())
    }

    /// Leaves the requests in a shared instance's inbox to its worker, unless a helper is there.
    pub(crate) fn wake_worker_if_alone(&self) {
        if let Some((wake_state, _)) = self.wake_state.get() {
            wake_state.wake_worker_if_alone();
        }
    }

    pub(crate) fn take(&self) -> Option<(RequestId, Job<H>)> {
        let next = self.inbox.take();
        if next.is_some() {
            self.unsettled.store(true, Ordering::Relaxed);
        }
        next
    }

    /// Returns the requests in a shared instance's inbox, which takes no more.
    pub(crate) fn close_inbox(&self) -> impl Iterator<Item = (RequestId, Job<H>)> {
        self.inbox.close().into_iter()
    }

    /// Whether the guest, which waits now, had been given something.
    pub(crate) fn settle(&self) -> bool {
        self.unsettled.swap(false, Ordering::Relaxed)
    }

    /// Adds a caller that waits for an answer.
    pub(crate) fn wait_for(&self, request_id: RequestId, reply: Arc<Reply<H>>) {
        lock(&self.waiting).push((request_id, reply));
    }

    /// Takes out the caller that waits for the answer to this request, unless it has been answered.
    pub(crate) fn take_waiting(&self, request_id: RequestId) -> Option<Arc<Reply<H>>> {
        let mut waiting = lock(&self.waiting);
        let at = waiting.iter().position(|(other, _)| *other == request_id)?;
        Some(waiting.swap_remove(at).1)
    }

    /// Takes out all callers that wait for an answer.
    pub(crate) fn take_all_waiting(&self) -> Vec<(RequestId, Arc<Reply<H>>)> {
        std::mem::take(&mut *lock(&self.waiting))
    }

    pub(crate) fn add_body(&self, body: &Arc<BodyCell>) {
        let mut bodies = lock(&self.bodies);
        bodies.retain(|other| other.strong_count() > 0);
        bodies.push(Arc::downgrade(body));
    }
}

/// Drives one run of an instance as far as it goes. Ready when there is nothing to drive.
pub(crate) fn poll_run<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    run: u64,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let slot = instance.slot();
    if let Some(wake_state) = slot.wake_state.get() {
        return wake_state.0.work(cx, || try_drive(pool, instance, wake_state));
    }
    let polled = slot.cell.poll(run, |run| run.as_mut().poll(cx).map(RunEnd::into_parts));
    polled.map(|end| report(pool, instance, end))
}

/// Drives a shared guest. Returns `None` if another task is driving it, ready if there is none to drive.
fn try_drive<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    (wake_state, waker): &(Arc<WakeState>, Waker),
) -> Option<Poll<()>> {
    let cell = &instance.slot().cell;
    let polled = cell.try_poll(cell.run_number(), |run| {
        wake_state.begin_poll();
        run.as_mut().poll(&mut Context::from_waker(waker)).map(RunEnd::into_parts)
    })?;
    Some(polled.map(|end| report(pool, instance, end)))
}

/// Reports a run's end. Not from within the run: what is given to it at once finds it parked.
fn report<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    end: Option<EndReport<H>>,
) {
    match end {
        Some((Some(usage), Some(event))) => {
            pool.report_all(instance.id(), [InstanceEvent::Usage(usage), event]);
        }
        Some((None, Some(event))) => pool.report(instance.id(), event),
        _ => {}
    }
}

/// Drives one run of an instance to its end, as a task of its own.
pub(crate) fn drive<H: Host>(
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    run: u64,
) -> impl Future<Output = ()> + Send {
    drive_with(pool, instance, run, |cx, run| run(cx))
}

/// Drives one run of an instance until `poll`, which is given the means to do so, is ready.
///
/// If the runtime ends first, nothing could drive the run any more: then the instance ends too.
pub(crate) fn drive_with<H: Host>(
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    run: u64,
    mut poll: impl FnMut(&mut Context<'_>, &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) -> Poll<()>
    + Send,
) -> impl Future<Output = ()> + Send {
    // Made here: a task may be dropped before it is polled for the first time.
    let driven = DrivenInstance { pool, instance, finished: false };
    async move {
        // The whole of it, not a copy of its flag.
        let mut driven = driven;
        std::future::poll_fn(|cx| {
            driven.instance.slot().task.register(cx.waker());
            poll(cx, &mut |cx| poll_run(&driven.pool, &driven.instance, run, cx))
        })
        .await;
        driven.finished = true;
    }
}

/// An instance that a task drives. If the task is dropped before it has finished, the instance ends.
struct DrivenInstance<H: Host> {
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    finished: bool,
}

impl<H: Host> Drop for DrivenInstance<H> {
    fn drop(&mut self) {
        if !self.finished {
            let reason = self.instance.slot().shutdown_reason().unwrap_or(Reason::Host);
            end(&self.pool, &self.instance, reason);
        }
    }
}

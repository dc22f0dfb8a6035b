//! What the driver keeps of an instance: where its guest is, and which callers wait for answers.
//!
//! An instance's *run* is a future that owns the guest: it starts the guest, gives it work, and
//! gives it back at the end. The run sits in the slot, where several tasks can drive it: the
//! request it serves, that request's body, a worker, or the task that ends the instance. A
//! stopped run gives its guest back at once, with the store, so that the hook sees it.

mod end;
mod helper;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;
use millpond_engine::lock;
use millpond_pool_core::{Instance, InstanceEvent, PoolHandle, Reason, RequestId, Usage};

use end::End;
pub(crate) use end::dispose;
pub(crate) use helper::Helper;

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::guest::Guest;
use crate::instance::reply::{Job, Reply};
use crate::instance::wake_state::WakeState;
use crate::response::body::BodyCell;

/// What the driver keeps of an instance.
pub struct Slot<H: Host> {
    seat: Mutex<Seat<H>>,
    /// The number of the run in the seat, counted from 1. It tells the driver of an earlier run
    /// that its run is over.
    run: AtomicU64,
    /// Why the instance must end, once that is so.
    shutdown: OnceLock<Reason>,
    /// The task that drives the run, if it is one of its own.
    task: AtomicWaker,
    /// The task that ends the instance.
    ender: AtomicWaker,
    /// For an instance that takes several requests at a time, with what its guest wakes.
    wake_state: OnceLock<(Arc<WakeState>, Waker)>,
    /// For a shared instance: the requests that it has been given and has not yet begun.
    inbox: Mutex<VecDeque<(RequestId, Job<H>)>>,
    /// The callers that wait for an answer from it.
    waiting: Mutex<Vec<(RequestId, Arc<Reply<H>>)>>,
    /// The open response bodies. Weak: a reader may drop its body at any time.
    bodies: Mutex<Vec<Weak<BodyCell>>>,
    /// For a shared instance: it was given something since it last waited.
    unsettled: AtomicBool,
    /// What broke it.
    error: OnceLock<Arc<wasmtime::Error>>,
    /// The runtime ended while the seat was locked: the holder of the seat ends the instance.
    orphaned: AtomicBool,
}

/// The future that owns a guest.
pub(crate) type Run<H> = Pin<Box<dyn Future<Output = RunEnd<H>> + Send>>;

enum Seat<H: Host> {
    /// Nothing has been started yet.
    New,
    Running(Run<H>),
    /// The guest waits for the next request, or for its end.
    Parked(Guest<H>),
    /// There is no guest any more.
    Gone,
}

/// How a run ended.
pub(crate) enum RunEnd<H: Host> {
    /// It waits for its first request.
    Started(Guest<H>),
    /// The guest works on nothing any more. What it holds, if that has changed.
    Quiet(Guest<H>, Option<Usage>),
    /// It must not be used again.
    Broken(Guest<H>, Reason),
    /// It was told to end.
    ShutDown(Option<Guest<H>>),
    /// It did not start. The event says how.
    NotStarted(InstanceEvent<Job<H>>),
}

impl<H: Host> Default for Slot<H> {
    fn default() -> Self {
        Self {
            seat: Mutex::new(Seat::New),
            run: AtomicU64::new(0),
            shutdown: OnceLock::new(),
            task: AtomicWaker::new(),
            ender: AtomicWaker::new(),
            wake_state: OnceLock::new(),
            inbox: Mutex::default(),
            waiting: Mutex::default(),
            bodies: Mutex::default(),
            unsettled: AtomicBool::new(false),
            error: OnceLock::new(),
            orphaned: AtomicBool::new(false),
        }
    }
}

impl<H: Host> Slot<H> {
    /// Looks at the seat, then wakes the task that ends the instance: it may have found the seat
    /// locked.
    fn with_seat<R>(&self, look: impl FnOnce(&mut Seat<H>) -> R) -> R {
        let result = look(&mut lock(&self.seat));
        self.leave_seat();
        result
    }

    fn leave_seat(&self) {
        // Pairs with the fence in `dispose`: either `dispose` finds the seat free, or this sees
        // the reason.
        fence(Ordering::SeqCst);
        if self.shutdown.get().is_some() {
            self.ender.wake();
        }
    }

    /// Begins the instance's first run, unless it has been ended before it began.
    pub(crate) fn begin(&self, run: Run<H>, shared: bool) {
        if shared {
            let wake_state = WakeState::new();
            let waker = wake_state.waker();
            let _ = self.wake_state.set((wake_state, waker));
        }
        let late = self.with_seat(|seat| match seat {
            Seat::New => {
                self.run.store(1, Ordering::Relaxed);
                *seat = Seat::Running(run);
                None
            }
            _ => Some(run),
        });
        drop(late);
    }

    /// Begins another run with the parked guest. `None`: there is none.
    pub(crate) fn resume(&self, make: impl FnOnce(Guest<H>) -> Run<H>) -> Option<()> {
        self.with_seat(|seat| match seat.take() {
            Seat::Parked(guest) if self.shutdown.get().is_none() => {
                self.run.fetch_add(1, Ordering::Relaxed);
                *seat = Seat::Running(make(guest));
                Some(())
            }
            other => {
                *seat = other;
                None
            }
        })
    }

    /// The number of the run in the seat.
    pub(crate) fn run(&self) -> u64 {
        self.run.load(Ordering::Relaxed)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.wake_state.get().is_some()
    }

    pub(crate) fn begin_shutdown(&self, reason: Reason) {
        let _ = self.shutdown.set(reason);
        if let Some((_, waker)) = self.wake_state.get() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn shutdown_reason(&self) -> Option<Reason> {
        self.shutdown.get().copied()
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
    /// [`pass_on`](Self::pass_on).
    pub(crate) fn put(&self, request_id: RequestId, job: Job<H>) -> Result<(), Job<H>> {
        let mut inbox = lock(&self.inbox);
        if self.shutdown.get().is_some() {
            return Err(job);
        }
        inbox.push_back((request_id, job));
        drop(inbox);
        if let Some((wake_state, _)) = self.wake_state.get() {
            wake_state.note();
        }
        Ok(())
    }

    /// Leaves the requests in a shared instance's inbox to its worker, unless a helper is there.
    pub(crate) fn pass_on(&self) {
        if let Some((wake_state, _)) = self.wake_state.get() {
            wake_state.pass_on();
        }
    }

    pub(crate) fn take(&self) -> Option<(RequestId, Job<H>)> {
        let next = lock(&self.inbox).pop_front();
        if next.is_some() {
            self.unsettled.store(true, Ordering::Relaxed);
        }
        next
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

    /// Whether this run has something left to do.
    pub(crate) fn is_running(&self, run: u64) -> bool {
        self.with_seat(|seat| matches!(seat, Seat::Running(_)) && self.run() == run)
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
        if !wake_state.0.work(cx) {
            return Poll::Pending;
        }
        // The current poller wakes the worker for unfinished work.
        return helper::try_drive(pool, instance, wake_state).unwrap_or(Poll::Pending);
    }
    let polled =
        slot.with_seat(|seat| if slot.run() == run { seat.poll(cx) } else { Poll::Ready(None) });
    report_end(pool, instance, polled)
}

fn report_end<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    polled: Poll<Option<Report<H>>>,
) -> Poll<()> {
    polled.map(|report| match report {
        Some((Some(usage), event)) => {
            pool.report_all(instance.id(), [InstanceEvent::Usage(usage), event]);
        }
        Some((None, event)) => pool.report(instance.id(), event),
        None => {}
    })
}

/// What a run's end means for the pool, and what its guest holds, if that has changed.
type Report<H> = (Option<Usage>, InstanceEvent<Job<H>>);

impl<H: Host> Seat<H> {
    /// Ready when there is no run any more, with what is to be reported about its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report<H>>> {
        let Self::Running(run) = self else { return Poll::Ready(None) };
        let Poll::Ready(end) = run.as_mut().poll(cx) else { return Poll::Pending };
        let (after, event) = match end {
            // Not from within the run: what is given to it at once finds it parked.
            RunEnd::Started(guest) => (Self::Parked(guest), Some((None, InstanceEvent::Started))),
            RunEnd::Quiet(guest, usage) => {
                (Self::Parked(guest), Some((usage, InstanceEvent::Quiet)))
            }
            RunEnd::Broken(guest, reason) => {
                (Self::Parked(guest), Some((None, InstanceEvent::Broken(reason))))
            }
            RunEnd::ShutDown(Some(guest)) => (Self::Parked(guest), None),
            RunEnd::ShutDown(None) => (Self::Gone, None),
            RunEnd::NotStarted(event) => (Self::Gone, Some((None, event))),
        };
        *self = after;
        Poll::Ready(event)
    }

    /// The same for a guest that several drive.
    fn poll_shared(&mut self, wake_state: &(Arc<WakeState>, Waker)) -> Poll<Option<Report<H>>> {
        wake_state.0.begin();
        self.poll(&mut Context::from_waker(&wake_state.1))
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Gone)
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
    let end = End::new(pool, instance, None);
    async move {
        // The whole of it, not a copy of its flag.
        let mut end = end;
        std::future::poll_fn(|cx| {
            end.instance.slot().task.register(cx.waker());
            poll(cx, &mut |cx| poll_run(&end.pool, &end.instance, run, cx))
        })
        .await;
        end.disarmed = true;
    }
}

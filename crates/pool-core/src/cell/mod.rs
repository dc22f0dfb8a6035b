//! For backends: where an instance's guest is, while several tasks may drive it and one may end it.
//!
//! A *run* is what a guest does: its start, one request, or all the requests that it shares. It sits in an
//! [`InstanceCell`], not in the task that drives it, so that the pool can end the instance though that task does not come
//! back. A backend polls the run where it is, and gets the guest back when the run is over.
//!
//! [`WakeState`] decides who drives a guest that several requests share; [`Inbox`] is how requests get there.
//!
//! What the cell promises, whatever the order in which its methods are called, and under a panic:
//!
//! - One task at a time touches the guest.
//! - An instance that has ended is torn down once, when no task drives it, and nothing drives it afterwards.
//! - No task waits for another: the end is handed to the task that drives the guest, which carries it out as it leaves.

mod inbox;
mod wake_state;

use std::task::{Context, Poll, Waker};

pub use inbox::Inbox;
pub use wake_state::WakeState;

use crate::Reason;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, MutexGuard, TryLockError, lock};

/// Where a guest is, and whether its instance ends. `R` is its run, and `P` the guest while it waits.
///
/// A step of a run may call [`end`](Self::end), [`begin_shutdown`](Self::begin_shutdown),
/// [`shutdown_reason`](Self::shutdown_reason), [`run_number`](Self::run_number) and [`try_poll`](Self::try_poll). The rest
/// would wait for the step.
///
/// ```
/// use std::future::{Future, ready};
/// use std::pin::Pin;
/// use std::task::{Context, Poll, Waker};
///
/// use millpond_pool_core::Reason;
/// use millpond_pool_core::cell::{CellState, InstanceCell};
///
/// type Run = Pin<Box<dyn Future<Output = String> + Send>>;
///
/// let cell = InstanceCell::<Run, String>::default();
/// let run = cell.begin(Box::pin(ready("guest".to_owned()))).ok().expect("it has not ended");
/// let mut cx = Context::from_waker(Waker::noop());
/// let polled = cell.poll(run, |run| run.as_mut().poll(&mut cx).map(|guest| (Some(guest), "started")));
/// assert_eq!(polled, Poll::Ready(Some("started")));
///
/// cell.end(Reason::Idle, |state| assert!(matches!(state, CellState::Parked(guest) if guest == "guest")));
/// assert!(cell.resume(|guest| Box::pin(ready(guest))).is_none());
/// ```
pub struct InstanceCell<R, P> {
    /// `None` once the guest has been given to the teardown.
    state: Mutex<Option<CellState<R, P>>>,
    /// The number of the newest run, counted from 1. It tells a task that drove an earlier run that its run is over.
    /// Written while `state` is locked.
    run_number: AtomicU64,
    /// Whether the instance ends; the reason is in `reason` by then.
    ends: AtomicBool,
    reason: Mutex<Option<Reason>>,
    teardown: Mutex<Teardown<R, P>>,
}

/// Where a guest is.
#[derive(Debug)]
#[non_exhaustive]
pub enum CellState<R, P> {
    /// It has not begun to start.
    New,
    /// It does something.
    Running(R),
    /// It waits for the next request, or for its end.
    Parked(P),
    /// There is none: it did not start, or its run has kept it.
    Gone,
}

/// What is to be done with the guest once the instance has ended and no task drives it.
enum Teardown<R, P> {
    /// The instance has not ended.
    Unset,
    Waiting(Box<dyn FnOnce(CellState<R, P>) + Send>),
    /// It has been given the guest.
    Begun,
}

impl<R, P> Default for InstanceCell<R, P> {
    fn default() -> Self {
        Self {
            state: Mutex::new(Some(CellState::New)),
            run_number: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            reason: Mutex::new(None),
            teardown: Mutex::new(Teardown::Unset),
        }
    }
}

impl<R, P> InstanceCell<R, P> {
    /// Begins the first run and returns its number.
    ///
    /// # Errors
    ///
    /// Gives the run back if the instance has begun to end.
    pub fn begin(&self, run: R) -> Result<u64, R> {
        self.hold(|state| match state {
            Some(CellState::New) if self.shutdown_reason().is_none() => Ok(self.set(state, run)),
            _ => Err(run),
        })
    }

    /// Begins another run, with the parked guest, and returns its number. `None`: there is no parked guest, or the instance
    /// has begun to end.
    pub fn resume(&self, make: impl FnOnce(P) -> R) -> Option<u64> {
        self.hold(|state| match state.replace(CellState::Gone) {
            Some(CellState::Parked(parked)) if self.shutdown_reason().is_none() => {
                Some(self.set(state, make(parked)))
            }
            other => {
                *state = other;
                None
            }
        })
    }

    /// Returns the number of the newest run; 0 before the first.
    pub fn run_number(&self) -> u64 {
        self.run_number.load(Ordering::Relaxed)
    }

    /// Returns whether this run has something left to do.
    pub fn is_running(&self, run: u64) -> bool {
        self.hold(|state| matches!(state, Some(CellState::Running(_))) && self.run_number() == run)
    }

    /// Drives a run by one step. If another task is at it, waits for that one.
    ///
    /// The step returns the guest, if it is there to be used again, and what the run's end means to the caller. This
    /// returns that, or `None` if the run is not there any more.
    pub fn poll<T>(
        &self,
        run: u64,
        step: impl FnOnce(&mut R) -> Poll<(Option<P>, T)>,
    ) -> Poll<Option<T>> {
        self.hold(|state| self.step(state, run, step))
    }

    /// Drives a run by one step, as [`poll`](Self::poll) does. `None`: another task drives it.
    pub fn try_poll<T>(
        &self,
        run: u64,
        step: impl FnOnce(&mut R) -> Poll<(Option<P>, T)>,
    ) -> Option<Poll<Option<T>>> {
        let _leaving = Leaving(self);
        let mut state = self.try_lock()?;
        Some(self.step(&mut state, run, step))
    }

    /// Notes why the instance ends. From then on no run begins. The first reason counts.
    pub fn begin_shutdown(&self, reason: Reason) {
        lock(&self.reason).get_or_insert(reason);
        self.ends.store(true, Ordering::Release);
    }

    /// Returns why the instance ends, once it does.
    pub fn shutdown_reason(&self) -> Option<Reason> {
        if self.ends.load(Ordering::Acquire) { *lock(&self.reason) } else { None }
    }

    /// Ends the instance: gives its guest to `teardown` as soon as no task drives it, which may be now.
    ///
    /// The task that drives the guest may be this one, and it may be in the middle of a step: so `teardown` is to be short,
    /// and moves what takes long to a task of its own. If an instance is ended twice, one of the two gets the guest, and
    /// the other is dropped.
    pub fn end(&self, reason: Reason, teardown: impl FnOnce(CellState<R, P>) + Send + 'static) {
        self.begin_shutdown(reason);
        let surplus = {
            let mut waiting = lock(&self.teardown);
            match *waiting {
                Teardown::Unset => {
                    *waiting = Teardown::Waiting(Box::new(teardown));
                    None
                }
                Teardown::Waiting(_) | Teardown::Begun => Some(teardown),
            }
        };
        drop(surplus);
        self.hand_over();
    }

    /// Gives the guest to the teardown, if one waits and no task drives the guest.
    fn hand_over(&self) {
        // One side unlocks the guest and looks for a teardown, the other leaves a teardown and tries to lock the guest.
        // Each has this fence between the two, so that one of them sees what the other did.
        fence(Ordering::SeqCst);
        let (teardown, guest) = {
            // Locked throughout: once the teardown has begun, none but a driver finds the guest locked.
            let mut waiting = lock(&self.teardown);
            if !matches!(*waiting, Teardown::Waiting(_)) {
                return;
            }
            let Some(mut state) = self.try_lock() else { return };
            (std::mem::replace(&mut *waiting, Teardown::Begun), state.take())
        };
        if let (Teardown::Waiting(teardown), Some(guest)) = (teardown, guest) {
            teardown(guest);
        }
    }

    fn hold<T>(&self, look: impl FnOnce(&mut Option<CellState<R, P>>) -> T) -> T {
        let _leaving = Leaving(self);
        look(&mut lock(&self.state))
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Option<CellState<R, P>>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            // A run that panicked is whole enough to be dropped.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn set(&self, state: &mut Option<CellState<R, P>>, run: R) -> u64 {
        *state = Some(CellState::Running(run));
        self.run_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn step<T>(
        &self,
        state: &mut Option<CellState<R, P>>,
        run: u64,
        step: impl FnOnce(&mut R) -> Poll<(Option<P>, T)>,
    ) -> Poll<Option<T>> {
        match state {
            Some(CellState::Running(running)) if self.run_number() == run => {
                step(running).map(|(parked, end)| {
                    *state = Some(parked.map_or(CellState::Gone, CellState::Parked));
                    Some(end)
                })
            }
            _ => Poll::Ready(None),
        }
    }
}

/// Stores the waiting task's waker. Returns the one stored before, which the caller must drop outside the lock.
///
/// ```
/// use std::task::{Context, Waker};
///
/// use millpond_pool_core::cell::store_waker;
///
/// let mut stored = None;
/// let cx = Context::from_waker(Waker::noop());
/// assert!(store_waker(&mut stored, &cx).is_none());
/// assert!(store_waker(&mut stored, &cx).is_none(), "the same waker is kept");
/// ```
pub fn store_waker(stored: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match stored {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => stored.replace(cx.waker().clone()),
    }
}

/// When dropped, also by a panic, sees to an end that has found the guest locked.
struct Leaving<'a, R, P>(&'a InstanceCell<R, P>);

impl<R, P> Drop for Leaving<'_, R, P> {
    fn drop(&mut self) {
        fence(Ordering::SeqCst);
        if self.0.ends.load(Ordering::Relaxed) {
            self.0.hand_over();
        }
    }
}

impl<R, P> std::fmt::Debug for InstanceCell<R, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceCell")
            .field("shutdown", &self.shutdown_reason())
            .finish_non_exhaustive()
    }
}

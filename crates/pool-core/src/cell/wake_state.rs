//! Who drives a guest that several requests share: its worker, and the requests themselves.
//!
//! The worker is a task, and waking a task costs more than many a request. So a request that was given
//! to such a guest, or reads what the guest sends, is a *helper*: it drives the guest in its own poll.
//! Whatever the guest waits for wakes a [`WakeState`]. While there are helpers, it only notes this.
//! The last helper drives the guest once more, and leaves the rest to the worker.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::store_waker;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, lock};

/// How often a helper drives a guest that wants more, before it leaves it to the worker.
const MAX_TIMES: usize = 4;

/// Decides who drives a shared instance; each has one. As a [`Waker`] it is what the guest is polled with.
///
/// What drives the guest, here `drive`, is [`InstanceCell::try_poll`](super::InstanceCell::try_poll): it returns `None` if
/// another task drives the guest.
///
/// ```
/// use std::sync::Arc;
/// use std::task::{Context, Poll, Waker};
///
/// use millpond_pool_core::cell::WakeState;
///
/// let state = WakeState::new();
/// let mut polls = 0;
/// let mut drive = || {
///     state.begin_poll();
///     polls += 1;
///     Some(Poll::Pending)
/// };
/// // A guest that has never been driven has everything to do.
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(state.work(&mut cx, &mut drive).is_pending());
///
/// state.add_helper();
/// Waker::from(Arc::clone(&state)).wake();
/// state.help(&mut drive);
/// state.remove_helper();
/// assert!(state.work(&mut cx, &mut drive).is_pending(), "there is nothing left to do");
/// assert_eq!(polls, 2);
/// ```
#[derive(Debug)]
pub struct WakeState {
    helpers: AtomicUsize,
    /// Whether something came up since the guest was last driven.
    ready: AtomicBool,
    worker: Mutex<Option<Waker>>,
}

impl WakeState {
    /// Returns the state of a guest that has never been driven, which is ready.
    pub fn new() -> Arc<Self> {
        let (helpers, ready) = (AtomicUsize::new(0), AtomicBool::new(true));
        Arc::new(Self { helpers, ready, worker: Mutex::new(None) })
    }

    /// Drives the guest as its worker, if there is something to do. Otherwise the worker is woken for it.
    pub fn work(&self, cx: &mut Context<'_>, drive: impl FnOnce() -> Option<Poll<()>>) -> Poll<()> {
        let old = store_waker(&mut lock(&self.worker), cx);
        drop(old);
        if !self.is_ready() {
            return Poll::Pending;
        }
        // The task that drives it now wakes the worker for unfinished work.
        drive().unwrap_or(Poll::Pending)
    }

    /// Drives the guest as a helper, while there is something to do. A guest often wakes itself while it is driven; one that
    /// does so without end is the worker's.
    pub fn help(&self, mut drive: impl FnMut() -> Option<Poll<()>>) {
        for _ in 0..MAX_TIMES {
            if !self.is_ready() {
                return;
            }
            match drive() {
                None => return,
                Some(Poll::Pending) => {}
                Some(Poll::Ready(())) => {
                    // The worker has an end to see.
                    self.mark_ready();
                    return;
                }
            }
        }
    }

    /// Clears the note, at the beginning of a step: it sees all that came up before.
    pub fn begin_poll(&self) {
        // Not a plain write: this poll must see what the threads did that noted something.
        self.ready.swap(false, Ordering::SeqCst);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Notes that there is something to do, without waking the worker: a helper sees to it.
    pub fn mark_ready(&self) {
        self.ready.swap(true, Ordering::SeqCst);
    }

    /// Adds a helper.
    pub fn add_helper(&self) {
        self.helpers.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes a helper. What it left undone goes to another helper, or else to the worker.
    pub fn remove_helper(&self) {
        self.helpers.fetch_sub(1, Ordering::SeqCst);
        self.wake_worker_if_alone();
    }

    /// Wakes the worker for what has been noted, unless there are helpers.
    pub fn wake_worker_if_alone(&self) {
        // Each side writes its own flag before it reads the other's, so at least one of them wakes
        // the worker.
        if self.is_ready() && self.helpers.load(Ordering::SeqCst) == 0 {
            let worker = lock(&self.worker).take();
            worker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Wake for WakeState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mark_ready();
        self.wake_worker_if_alone();
    }
}

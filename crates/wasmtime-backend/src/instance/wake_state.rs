//! Who drives a guest that several requests share: its worker, and the requests themselves.
//!
//! The worker is a task, and waking a task costs more than many a request. So a request that was given
//! to such a guest, or reads what the guest sends, is a *helper*: it drives the guest in its own poll.
//! Whatever the guest waits for wakes a [`WakeState`]. While there are helpers, it only notes this.
//! The last helper drives the guest once more, and leaves the rest to the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;

/// Who is to drive a shared instance; each has one.
pub(crate) struct WakeState {
    helpers: AtomicUsize,
    /// Whether something came up since the guest was last driven.
    woken: AtomicBool,
    worker: AtomicWaker,
}

impl WakeState {
    pub(crate) fn new() -> Arc<Self> {
        // A guest that has never been driven has everything to do.
        let (helpers, woken) = (AtomicUsize::new(0), AtomicBool::new(true));
        Arc::new(Self { helpers, woken, worker: AtomicWaker::new() })
    }

    /// Registers the worker, and returns whether it is to drive the guest.
    pub(crate) fn work(&self, cx: &mut Context<'_>) -> bool {
        self.worker.register(cx.waker());
        self.is_woken()
    }

    /// Clears the note: the caller is about to drive the guest, and so sees all that came up before.
    pub(crate) fn begin(&self) {
        // Not a plain write: this poll must see what the threads did that noted something.
        self.woken.swap(false, Ordering::SeqCst);
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Notes that there is something to do, without waking the worker: a helper sees to it.
    pub(crate) fn note(&self) {
        self.woken.swap(true, Ordering::SeqCst);
    }

    /// Adds a helper.
    pub(crate) fn enter(&self) {
        self.helpers.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes a helper. What it left undone goes to another helper, or else to the worker.
    pub(crate) fn leave(&self) {
        self.helpers.fetch_sub(1, Ordering::SeqCst);
        self.pass_on();
    }

    /// Wakes the worker for what has been noted, unless there are helpers.
    pub(crate) fn pass_on(&self) {
        // Each side writes its own flag before it reads the other's, so at least one of them wakes
        // the worker.
        if self.is_woken() && self.helpers.load(Ordering::SeqCst) == 0 {
            self.worker.wake();
        }
    }

    /// Returns the waker that the guest is polled with.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for WakeState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note();
        self.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A wake state whose worker waits, and how often that was woken.
    fn wake_state() -> (Arc<WakeState>, Arc<Bell>, impl Fn() -> bool) {
        let (wake_state, bell) = (WakeState::new(), Arc::new(Bell::default()));
        let (worker, there) = (Waker::from(Arc::clone(&bell)), Arc::clone(&wake_state));
        let work = move || there.work(&mut Context::from_waker(&worker));
        assert!(work(), "what was never driven is to be driven");
        wake_state.begin();
        assert!(!work());
        (wake_state, bell, work)
    }

    #[test]
    fn without_helpers_the_worker_is_woken() {
        let (wake_state, bell, work) = wake_state();
        wake_state.waker().wake();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(work());
    }

    #[test]
    fn a_driving_helper_spares_the_worker() {
        let (wake_state, bell, work) = wake_state();
        wake_state.enter();
        wake_state.waker().wake();
        wake_state.begin();
        wake_state.leave();
        assert_eq!(bell.0.load(Ordering::SeqCst), 0);
        assert!(!work());
    }

    #[test]
    fn the_last_helper_wakes_the_worker() {
        let (wake_state, bell, work) = wake_state();
        wake_state.enter();
        wake_state.enter();
        wake_state.note();
        wake_state.leave();
        assert_eq!(bell.0.load(Ordering::SeqCst), 0);
        wake_state.leave();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(work());
    }
}

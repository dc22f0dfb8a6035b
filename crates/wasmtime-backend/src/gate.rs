//! Who drives a guest that several requests share: its worker, and whoever is near.
//!
//! The worker is a task, and waking a task costs more than many a request. So a request that was given
//! to such a guest, or reads what the guest sends, is a *helper*: it drives the guest in its own poll.
//! All that the guest waits for wakes the gate. While there are helpers it only takes note of that;
//! the last of them drives the guest once more, and what is left to do after that is the worker's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;

/// One for each shared instance.
pub(crate) struct Gate {
    helpers: AtomicUsize,
    /// There is something to do since the guest was last driven.
    woken: AtomicBool,
    worker: AtomicWaker,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        // A guest that has never been driven has everything to do.
        let (helpers, woken) = (AtomicUsize::new(0), AtomicBool::new(true));
        Arc::new(Self { helpers, woken, worker: AtomicWaker::new() })
    }

    /// The worker is there, and drives the guest if this is true.
    pub(crate) fn work(&self, cx: &mut Context<'_>) -> bool {
        self.worker.register(cx.waker());
        self.is_woken()
    }

    /// Whoever has the guest is about to drive it: what came up before this is seen to.
    pub(crate) fn begin(&self) {
        // Not a plain write: this poll is to see what those did who noted something.
        self.woken.swap(false, Ordering::SeqCst);
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// There is something to do, for a helper who knows of it.
    pub(crate) fn note(&self) {
        self.woken.swap(true, Ordering::SeqCst);
    }

    /// A helper comes.
    pub(crate) fn enter(&self) {
        self.helpers.fetch_add(1, Ordering::SeqCst);
    }

    /// A helper goes, or did not come: what it left undone is the worker's, or the next helper's.
    pub(crate) fn leave(&self) {
        self.helpers.fetch_sub(1, Ordering::SeqCst);
        self.pass_on();
    }

    /// What has been noted is the worker's, unless there are helpers.
    pub(crate) fn pass_on(&self) {
        // Each side writes its own before it reads the other's: at least one of them wakes the worker.
        if self.is_woken() && self.helpers.load(Ordering::SeqCst) == 0 {
            self.worker.wake();
        }
    }

    /// What the guest wakes.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Gate {
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

    /// A gate whose worker waits, and how often that was woken.
    fn gate() -> (Arc<Gate>, Arc<Bell>, impl Fn() -> bool) {
        let (gate, bell) = (Gate::new(), Arc::new(Bell::default()));
        let (worker, there) = (Waker::from(Arc::clone(&bell)), Arc::clone(&gate));
        let work = move || there.work(&mut Context::from_waker(&worker));
        assert!(work(), "what was never driven is to be driven");
        gate.begin();
        assert!(!work());
        (gate, bell, work)
    }

    #[test]
    fn without_helpers_the_worker_is_woken() {
        let (gate, bell, work) = gate();
        gate.waker().wake();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(work());
    }

    #[test]
    fn a_helper_that_drives_the_guest_leaves_nothing_to_the_worker() {
        let (gate, bell, work) = gate();
        gate.enter();
        gate.waker().wake();
        gate.begin();
        gate.leave();
        assert_eq!(bell.0.load(Ordering::SeqCst), 0);
        assert!(!work());
    }

    #[test]
    fn the_last_helper_leaves_to_the_worker_what_it_could_not_do() {
        let (gate, bell, work) = gate();
        gate.enter();
        gate.enter();
        gate.note();
        gate.leave();
        assert_eq!(bell.0.load(Ordering::SeqCst), 0);
        gate.leave();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(work());
    }
}

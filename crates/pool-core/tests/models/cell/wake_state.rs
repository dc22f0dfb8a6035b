//! A guest that several requests share: what it wakes for is done, by its worker or by helpers.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use millpond_pool_core::Reason;
use millpond_pool_core::cell::{InstanceCell, WakeState};

use crate::mode::{AtomicU64, block_on, explore, explore_within, thread};

/// How many preemptions loom can run these with in seconds.
const FEW: usize = 2;

/// A guest whose run ends when it has done so much.
struct Guest {
    cell: InstanceCell<u64, ()>,
    state: Arc<WakeState>,
    to_do: AtomicU64,
    /// How much of it is done in one step. If there is more, the guest wakes itself.
    at_once: u64,
}

impl Guest {
    fn new(work: u64, at_once: u64) -> Arc<Self> {
        let (cell, state) = (InstanceCell::default(), WakeState::new());
        assert_eq!(cell.begin(work), Ok(1));
        Arc::new(Self { cell, state, to_do: AtomicU64::new(0), at_once })
    }

    fn wake(&self) {
        Waker::from(Arc::clone(&self.state)).wake();
    }

    /// Something comes up for the guest.
    fn receive(&self) {
        self.to_do.fetch_add(1, Ordering::Relaxed);
        self.wake();
    }

    fn drive(&self) -> Option<Poll<()>> {
        let polled = self.cell.try_poll(1, |left| {
            self.state.begin_poll();
            let done = self.to_do.load(Ordering::Relaxed).min(self.at_once);
            if self.to_do.fetch_sub(done, Ordering::Relaxed) > done {
                self.wake();
            }
            *left -= done;
            if *left == 0 { Poll::Ready((None, ())) } else { Poll::Pending }
        });
        polled.map(|polled| polled.map(drop))
    }

    /// Drives it until its run is over. A wake-up that is lost is a worker that waits for ever.
    fn work(&self) {
        block_on(poll_fn(|cx| self.state.work(cx, || self.drive())));
    }

    /// A request that gives the guest something, and helps.
    fn request(&self, amount: u64) {
        self.state.add_helper();
        self.to_do.fetch_add(amount, Ordering::Relaxed);
        self.state.mark_ready();
        self.state.help(|| self.drive());
        self.state.remove_helper();
    }

    fn end(self: &Arc<Self>) {
        self.cell.begin_shutdown(Reason::Drain);
        self.wake();
        let torn = Arc::clone(self);
        self.cell.end(Reason::Drain, move |_| torn.wake());
    }
}

#[test]
fn a_worker_does_all_that_comes() {
    explore(|| {
        let guest = Guest::new(1, 1);
        let there = Arc::clone(&guest);
        let receiving = thread::spawn(move || there.receive());
        guest.work();
        receiving.join().unwrap();
    });
}

#[test]
fn a_helper_leaves_the_rest_to_the_worker() {
    explore_within(FEW, || {
        let guest = Guest::new(2, 2);
        let (there, here) = (Arc::clone(&guest), Arc::clone(&guest));
        let request = thread::spawn(move || there.request(1));
        let receiving = thread::spawn(move || here.receive());
        guest.work();
        request.join().unwrap();
        receiving.join().unwrap();
    });
}

#[test]
fn two_helpers_leave_nothing_undone() {
    explore_within(FEW, || {
        let guest = Guest::new(2, 2);
        let (there, here) = (Arc::clone(&guest), Arc::clone(&guest));
        let first = thread::spawn(move || there.request(1));
        let second = thread::spawn(move || here.request(1));
        guest.work();
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_helper_does_not_help_without_end() {
    explore_within(FEW, || {
        let guest = Guest::new(6, 1);
        let there = Arc::clone(&guest);
        let request = thread::spawn(move || there.request(6));
        guest.work();
        request.join().unwrap();
    });
}

#[test]
fn a_worker_sees_its_guests_end() {
    explore_within(FEW, || {
        let guest = Guest::new(2, 2);
        let (there, here) = (Arc::clone(&guest), Arc::clone(&guest));
        let request = thread::spawn(move || there.request(1));
        let ending = thread::spawn(move || here.end());
        guest.work();
        request.join().unwrap();
        ending.join().unwrap();
    });
}

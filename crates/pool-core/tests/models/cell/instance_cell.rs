//! An instance's cell: tasks that drive its guest, racing with the one that ends it.

use std::sync::Arc;
use std::task::Poll;

use millpond_pool_core::Reason;
use millpond_pool_core::cell::{CellState, Inbox, InstanceCell};

use crate::mode::{Mutex, explore, explore_bounded, thread};

/// A run, with its number, and a guest that waits.
struct Run(u64);
struct Parked;

type Cell = InstanceCell<Run, Parked>;

/// A cell, and what its teardowns were given.
#[derive(Clone)]
struct Fixture {
    cell: Arc<Cell>,
    torn: Arc<Mutex<Vec<&'static str>>>,
}

impl Fixture {
    fn new() -> Self {
        Self { cell: Arc::default(), torn: Arc::new(Mutex::new(Vec::new())) }
    }

    fn running() -> Self {
        let fixture = Self::new();
        assert!(fixture.cell.begin(Run(1)).is_ok_and(|run| run == 1));
        fixture
    }

    fn parked() -> Self {
        let fixture = Self::running();
        assert!(fixture.park(1));
        fixture
    }

    /// Whether this run ended with this step.
    fn park(&self, run: u64) -> bool {
        self.step(run, Poll::Ready(Some(Parked)))
    }

    fn step(&self, run: u64, to: Poll<Option<Parked>>) -> bool {
        let polled = self.cell.poll(run, |running| {
            assert_eq!(running.0, run, "a run is driven by those who know it");
            to.map(|parked| (parked, ()))
        });
        polled == Poll::Ready(Some(()))
    }

    fn end(&self, reason: Reason) {
        let torn = Arc::clone(&self.torn);
        self.cell.end(reason, move |state| {
            let state = match state {
                CellState::New => "new",
                CellState::Running(_) => "running",
                CellState::Parked(_) => "parked",
                CellState::Gone => "gone",
                _ => unreachable!("there are no more"),
            };
            torn.lock().unwrap().push(state);
        });
    }

    fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let fixture = self.clone();
        thread::spawn(move || body(&fixture))
    }

    fn torn(&self) -> Vec<&'static str> {
        self.torn.lock().unwrap().clone()
    }

    /// It was torn down, and nothing happens to it any more.
    fn check_torn(&self, state: &'static str) {
        assert_eq!(self.torn(), [state]);
        assert_eq!(Arc::strong_count(&self.torn), 1, "no teardown is kept");
        let run = self.cell.run_number();
        assert!(self.cell.begin(Run(0)).is_err());
        assert_eq!(self.cell.resume(|_| Run(0)), None);
        assert!(!self.step(run, Poll::Pending) && !self.cell.is_running(run));
        self.end(Reason::Host);
        assert_eq!(self.torn(), [state]);
    }
}

#[test]
fn an_end_beside_a_step_tears_down_once() {
    explore(|| {
        let fixture = Fixture::running();
        let driver = fixture.spawn(|fixture| assert!(!fixture.step(1, Poll::Pending)));
        fixture.end(Reason::Timeout);
        driver.join().unwrap();
        fixture.check_torn("running");
    });
}

#[test]
fn an_end_beside_a_helper_tears_down_once() {
    explore(|| {
        let fixture = Fixture::running();
        let helper = fixture.spawn(|fixture| {
            let _ = fixture.cell.try_poll(1, |_| Poll::<(_, ())>::Pending);
        });
        fixture.end(Reason::Timeout);
        helper.join().unwrap();
        fixture.check_torn("running");
    });
}

#[test]
fn an_end_beside_a_look_tears_down_once() {
    explore(|| {
        let fixture = Fixture::running();
        let looking = fixture.spawn(|fixture| _ = fixture.cell.is_running(1));
        fixture.end(Reason::Timeout);
        looking.join().unwrap();
        fixture.check_torn("running");
    });
}

#[test]
fn an_end_gets_a_guest_that_parks() {
    explore(|| {
        let fixture = Fixture::running();
        let driver = fixture.spawn(|fixture| fixture.park(1));
        fixture.end(Reason::Timeout);
        let parked = driver.join().unwrap();
        fixture.check_torn(if parked { "parked" } else { "running" });
    });
}

#[test]
fn a_request_or_an_end_gets_the_guest() {
    explore(|| {
        let fixture = Fixture::parked();
        let request = fixture.spawn(|fixture| fixture.cell.resume(|_| Run(2)));
        fixture.end(Reason::Idle);
        let run = request.join().unwrap();
        fixture.check_torn(if run == Some(2) { "running" } else { "parked" });
    });
}

#[test]
fn a_start_or_an_end_comes_first() {
    explore(|| {
        let fixture = Fixture::new();
        let start = fixture.spawn(|fixture| fixture.cell.begin(Run(1)).is_ok());
        fixture.end(Reason::Drain);
        let begun = start.join().unwrap();
        fixture.check_torn(if begun { "running" } else { "new" });
    });
}

#[test]
fn two_ends_tear_down_once() {
    explore_bounded(|| {
        let fixture = Fixture::running();
        // The runtime ends with the task that drives it, and so does the pool.
        let driver = fixture.spawn(|fixture| {
            fixture.step(1, Poll::Pending);
            fixture.end(Reason::Host);
        });
        let body = fixture.spawn(|fixture| assert!(!fixture.step(1, Poll::Pending)));
        fixture.end(Reason::Drain);
        driver.join().unwrap();
        body.join().unwrap();
        fixture.check_torn("running");
    });
}

#[test]
fn a_step_may_end_its_own_instance() {
    explore(|| {
        let fixture = Fixture::running();
        let polled = fixture.cell.poll(1, |_| {
            fixture.end(Reason::Trap);
            assert_eq!(fixture.torn(), [""; 0], "its guest is in use");
            assert_eq!(fixture.cell.shutdown_reason(), Some(Reason::Trap));
            Poll::Ready((Some(Parked), ()))
        });
        assert_eq!(polled, Poll::Ready(Some(())));
        fixture.check_torn("parked");
    });
}

/// Only on real threads: the checkers take any panic for a failure.
#[cfg(not(any(loom, shuttle)))]
#[test]
fn a_step_that_panics_does_not_stop_an_end() {
    let fixture = Fixture::running();
    let panics = || {
        fixture.cell.poll(1, |_| -> Poll<(_, ())> {
            fixture.end(Reason::Host);
            panic!("on purpose")
        })
    };
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
    assert!(panicked.is_err());
    fixture.check_torn("running");
}

#[test]
fn a_driver_leaves_later_runs_alone() {
    explore(|| {
        let fixture = Fixture::running();
        let late = fixture.spawn(|fixture| {
            fixture.park(1);
            fixture.step(1, Poll::Pending);
        });
        fixture.park(1);
        let run = fixture.cell.resume(|_| Run(2));
        late.join().unwrap();
        let run = run.or_else(|| fixture.cell.resume(|_| Run(2)));
        assert_eq!(run, Some(2));
        assert!(fixture.cell.is_running(2) && !fixture.cell.is_running(1));
        fixture.end(Reason::Idle);
        fixture.check_torn("running");
    });
}

#[test]
fn the_first_reason_counts() {
    explore(|| {
        let fixture = Fixture::parked();
        let driver = fixture.spawn(|fixture| fixture.cell.begin_shutdown(Reason::Trap));
        fixture.cell.begin_shutdown(Reason::Timeout);
        let first = fixture.cell.shutdown_reason();
        driver.join().unwrap();
        assert!(first.is_some());
        assert_eq!(fixture.cell.shutdown_reason(), first);
    });
}

#[test]
fn a_closed_inbox_keeps_nothing() {
    explore(|| {
        let inbox = Arc::new(Inbox::default());
        let there = Arc::clone(&inbox);
        let putting = thread::spawn(move || there.put("request").is_err());
        let taken = inbox.take().is_some();
        let closed = inbox.close().len();
        let given_back = putting.join().unwrap();
        assert_eq!(usize::from(taken) + closed + usize::from(given_back), 1);
        assert_eq!(inbox.take(), None);
    });
}

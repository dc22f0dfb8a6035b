//! The standard library: threads as the machine runs them, so that ordinary test runs and mutation
//! testing reach the asynchronous layer. Time decides nothing but when to give up.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

pub(crate) use std::sync::{Mutex, atomic::AtomicU64};

/// How often each model runs.
const RUNS: usize = 20;

/// What a new thread gets in every other run before the one that spawned it goes on. So threads
/// that would hardly ever be first are, and those that wait do wait.
const HEAD_START: Duration = Duration::from_millis(1);

/// One run takes milliseconds. One that takes this long waits for something that will not come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    for run in 1..=RUNS {
        let (over, outcome) = mpsc::channel();
        WATCH.set(Some(Watch { over: over.clone(), head_start: run % 2 == 0 }));
        let body = Arc::clone(&model);
        thread::spawn(move || {
            body();
            // Fails if another thread panicked and the test is over.
            let _ = over.send(Outcome::Ended);
        });
        // The model has a thread of its own, so that one that hangs fails its test and no other:
        // its threads are left behind, asleep.
        match outcome.recv_timeout(PATIENCE) {
            Ok(Outcome::Ended) => {}
            Ok(Outcome::Panicked) => panic!("a thread of the model panicked in run {run}"),
            Err(RecvTimeoutError::Timeout) => {
                panic!("run {run} did not end within {PATIENCE:?}: a thread waits in vain")
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("this thread has a sender too"),
        }
    }
}

pub(crate) fn explore_bounded(model: impl Fn() + Send + Sync + 'static) {
    explore(model);
}

pub(crate) fn explore_within(_: usize, model: impl Fn() + Send + Sync + 'static) {
    explore(model);
}

pub(crate) fn explore_large(model: impl Fn() + Send + Sync + 'static) {
    explore(model);
}

/// How a run came to its end.
enum Outcome {
    Ended,
    Panicked,
}

/// A run that is watched.
#[derive(Clone)]
struct Watch {
    over: Sender<Outcome>,
    head_start: bool,
}

thread_local! {
    /// The run that this thread is part of.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Reports the panic of a thread at once: others may wait for what it now never does.
struct Guard(Watch);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.over.send(Outcome::Panicked);
        }
    }
}

pub(crate) mod thread {
    pub(crate) use std::thread::JoinHandle;

    use super::{Guard, HEAD_START, WATCH};

    pub(crate) fn spawn<T: Send + 'static>(
        body: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let watch = WATCH.with_borrow(Clone::clone).expect("models run in `explore`");
        let head_start = watch.head_start;
        let spawned = std::thread::spawn(move || {
            WATCH.set(Some(watch.clone()));
            let _guard = Guard(watch);
            body()
        });
        if head_start {
            std::thread::sleep(HEAD_START);
        }
        spawned
    }
}

/// Polls a future to its end; between polls, sleeps until it is woken.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

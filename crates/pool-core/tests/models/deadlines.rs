//! The reaper, against those who change what it sleeps for, or take its pool away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use millpond_pool_core::{Failure, Limits, MaxRequests, Refusal};

use crate::host::{
    Told, answer, check_empty, exclusive, finish, let_go, poll_with, pool, run, secs, shared, step,
    submit,
};
use crate::mode::{block_on, explore, explore_bounded, thread};

/// The head comes at the moment of its deadline.
fn head_at_the_deadline(limits: fn() -> Limits) {
    explore(move || {
        let (pool, mut reaper) = pool(limits());
        step(&mut reaper);
        let mut request = submit(&pool);
        let request_id = request.request_id();
        let id = pool.driver().holder(request_id).expect("started at once");
        pool.driver().clock.set(30);

        let reaping = thread::spawn(move || step(&mut reaper));
        let responded = pool.responded(request_id);
        reaping.join().unwrap();

        let told = pool.driver().told(request_id);
        if responded {
            assert_eq!(told, None, "it has its answer");
            finish(&mut request, id);
        } else {
            assert_eq!(told, Some(Told::Failed(Failure::RequestTimeout)));
            request.over();
        }
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.responded, snapshot.failed), (responded.into(), (!responded).into()));
        check_empty(&pool);
    });
}

#[test]
fn head_or_timeout_wins_at_the_deadline() {
    head_at_the_deadline(exclusive);
}

#[test]
fn head_or_timeout_wins_on_a_shared_one() {
    head_at_the_deadline(shared);
}

#[test]
fn a_first_deadline_rouses_the_reaper() {
    explore_bounded(|| {
        let (pool, reaper) = pool(exclusive());
        let reaper = run(reaper);
        let mut request = submit(&pool);
        pool.driver().clock.set(30);
        let told = block_on(pool.driver().hear(request.request_id()));
        assert_eq!(told, Told::Failed(Failure::RequestTimeout));
        request.over();
        drop(request);
        drop(pool);
        reaper.join().unwrap();
    });
}

#[test]
fn an_earlier_deadline_rouses_the_reaper() {
    explore_bounded(|| {
        let mut limits = exclusive();
        limits.queue_timeout = secs(5);
        let (pool, reaper) = pool(limits);
        let running = submit(&pool);
        let reaper = run(reaper);
        let mut waiting = submit(&pool);
        pool.driver().clock.set(5);
        let told = block_on(pool.driver().hear(waiting.request_id()));
        assert_eq!(told, Told::Refused(Refusal::QueueTimeout));
        waiting.over();
        assert!(answer(running));
        drop(waiting);
        drop(pool);
        reaper.join().unwrap();
    });
}

/// Each time would be a wake-up of another thread.
#[test]
fn not_every_request_rouses_the_reaper() {
    explore_bounded(|| {
        let mut limits = exclusive();
        limits.max_requests = MaxRequests::exactly(1);
        let (pool, mut reaper) = pool(limits);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let serve = || {
            assert!(answer(submit(&pool)));
            check_empty(&pool);
        };
        assert!(poll_with(&waker, &mut reaper).is_pending());
        serve();
        assert_eq!(woken.times(), 1, "it slept without end");
        assert!(poll_with(&waker, &mut reaper).is_pending());
        serve();
        serve();
        assert_eq!(woken.times(), 1, "what they wait for is later than what it sleeps for");
        pool.driver().clock.set(10);
        assert_eq!(woken.times(), 2, "it looks at that time, though nothing is left of the first");
        assert!(poll_with(&waker, &mut reaper).is_pending());
        serve();
        assert_eq!(woken.times(), 3);
    });
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn the_reaper_ends_with_the_last_handle() {
    explore(|| {
        let (pool, reaper) = pool(exclusive());
        let reaper = run(reaper);
        let other = pool.clone();
        let other = thread::spawn(move || let_go(other));
        let_go(pool);
        other.join().unwrap();
        reaper.join().unwrap();
    });
}

#[test]
fn the_last_handle_ends_a_waiting_reaper() {
    explore_bounded(|| {
        let (pool, reaper) = pool(exclusive());
        let request = submit(&pool);
        let request_id = request.request_id();
        let on = pool.driver().holder(request_id).expect("started at once");
        assert!(pool.responded(request_id));
        let reaper = run(reaper);
        // The last handle is the request's.
        let ending = thread::spawn(move || {
            let mut request = request;
            finish(&mut request, on);
            let_go(request.pool().clone());
        });
        let_go(pool);
        ending.join().unwrap();
        reaper.join().unwrap();
    });
}

//! Policies: woken from anywhere, polled on whatever thread made the change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use millpond_pool_core::expiration::{BoxExpiration, Expired, body_stall_timeout, boxed, from_fn};
use millpond_pool_core::{Failure, Reason, Status};

use crate::host::{
    Item, Told, answer, check_empty, exclusive, finish, finish_in_one, pool_with, reserve, run,
    secs, shared, step, submit,
};
use crate::mode::{block_on, explore, explore_bounded, thread};

/// A signal from outside that retires instances. Using it is no step of the model, waking is.
#[derive(Clone, Default)]
struct Signal(Arc<(AtomicBool, Mutex<Vec<Waker>>)>);

impl Signal {
    fn give(&self) {
        let (on, wakers) = &*self.0;
        on.store(true, SeqCst);
        let wakers = std::mem::take(&mut *wakers.lock().unwrap());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Retires an instance whose status is among these.
    fn policy(&self, of: &'static [Status]) -> BoxExpiration {
        let signal = self.clone();
        boxed(from_fn(move |cx| {
            let (on, wakers) = &*signal.0;
            wakers.lock().unwrap().push(cx.waker().clone());
            if on.load(SeqCst) && of.contains(&cx.view().status) {
                Poll::Ready(Expired::Retire(Reason::Swap))
            } else {
                Poll::Pending
            }
        }))
    }
}

#[test]
fn a_wake_reaches_a_reaper_about_to_sleep() {
    explore_bounded(|| {
        let signal = Signal::default();
        let policy = signal.clone();
        let (pool, reaper) = pool_with(exclusive(), move || policy.policy(&[Status::Busy]));
        let mut request = submit(&pool);
        let reaper = run(reaper);
        signal.give();
        let told = block_on(pool.driver().hear(request.request_id()));
        assert_eq!(told, Told::Failed(Failure::Retired(Reason::Swap)));
        request.over();
        drop(request);
        drop(pool);
        reaper.join().unwrap();
    });
}

#[test]
fn a_stale_idle_verdict_ends_no_request() {
    explore(|| {
        let signal = Signal::default();
        let policy = signal.clone();
        let (pool, mut reaper) = pool_with(exclusive(), move || policy.policy(&[Status::Idle]));
        step(&mut reaper);
        assert!(answer(submit(&pool)));
        let permit = reserve(&pool);

        let retiring = thread::spawn(move || {
            signal.give();
            step(&mut reaper);
        });
        let request = pool.submit(permit, Item::default());
        retiring.join().unwrap();

        assert_eq!(pool.driver().told(request.request_id()), None);
        assert!(answer(request), "one or another instance has it");
        check_empty(&pool);
        assert_eq!(pool.snapshot().retired.get(Reason::Swap), pool.snapshot().starts);
    });
}

#[test]
fn a_body_that_moves_in_time_does_not_stall() {
    explore(|| {
        let stalled = || boxed(body_stall_timeout(secs(10)));
        let (pool, mut reaper) = pool_with(exclusive(), stalled);
        let mut request = submit(&pool);
        let on = pool.driver().holder(request.request_id()).expect("started at once");
        assert!(pool.responded(request.request_id()));
        pool.driver().clock.set(6);
        request.progress(on);
        pool.driver().clock.set(12);
        let reaping = thread::spawn(move || step(&mut reaper));
        pool.load();
        reaping.join().unwrap();
        finish(&mut request, on);
        drop(request);
        assert_eq!(pool.snapshot().retired.total(), 0);
        check_empty(&pool);
    });
}

#[test]
fn a_policy_sees_no_view_after_a_newer_one() {
    explore(|| {
        let newest = Arc::new(AtomicU64::new(0));
        let back = Arc::new(AtomicBool::new(false));
        let went_back = back.clone();
        let (pool, _) = pool_with(shared(), move || {
            let (newest, back) = (newest.clone(), back.clone());
            boxed(from_fn(move |cx| {
                let requests = cx.view().requests;
                back.fetch_or(newest.swap(requests, SeqCst) > requests, SeqCst);
                Poll::Pending
            }))
        });
        assert!(answer(submit(&pool)));
        let permit = reserve(&pool);

        let other = pool.clone();
        let other = thread::spawn(move || other.submit(permit, Item::default()));
        let requests = [submit(&pool), other.join().unwrap()];
        assert!(!went_back.load(SeqCst));
        for request in requests {
            assert!(answer(request));
        }
        check_empty(&pool);
    });
}

#[test]
fn a_policy_may_wake_itself_in_its_poll() {
    explore(|| {
        let polls = Arc::new(AtomicU64::new(0));
        let counted = polls.clone();
        let (pool, mut reaper) = pool_with(exclusive(), move || {
            let polls = polls.clone();
            boxed(from_fn(move |cx| {
                // As often as it is polled: that must end.
                polls.fetch_add(1, SeqCst);
                cx.waker().wake_by_ref();
                Poll::Pending
            }))
        });
        let request = submit(&pool);
        let before = counted.load(SeqCst);
        step(&mut reaper);
        assert_eq!(counted.load(SeqCst), before + 1, "once for each turn of the reaper");
        assert!(answer(request));
        check_empty(&pool);
    });
}

/// Between the two it would be seen after its return.
#[test]
fn a_policy_sees_batched_reports_as_one() {
    explore(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = Arc::clone(&seen);
        let policy = move || {
            let seen = Arc::clone(&seeing);
            boxed(from_fn(move |cx| {
                seen.lock().unwrap().push(cx.view().status);
                Poll::Pending
            }))
        };
        let (pool, _) = pool_with(exclusive(), policy);
        let (request, next) = (submit(&pool), submit(&pool));
        let on = pool.driver().holder(request.request_id()).expect("started at once");
        assert!(pool.responded(request.request_id()));
        assert_eq!(pool.driver().holder(next.request_id()), None);
        seen.lock().unwrap().clear();
        finish_in_one(request, on);
        assert_eq!(*seen.lock().unwrap(), [Status::Busy], "with the next request");
        assert_eq!(pool.driver().holder(next.request_id()), Some(on));
        seen.lock().unwrap().clear();
        assert!(pool.responded(next.request_id()));
        finish_in_one(next, on);
        assert_eq!(*seen.lock().unwrap(), [Status::Streaming, Status::Idle]);
        check_empty(&pool);
    });
}

//! Those who wait for a permit, against those who give one back.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use millpond_pool_core::{ErrorKind, Limits};

use crate::host::{
    Item, Pool, answer, check_empty, exclusive, poll_once, poll_with, pool, reserve,
};
use crate::mode::{block_on, explore, explore_bounded, thread};

/// There is one permit.
fn one() -> Limits {
    let mut limits = exclusive();
    limits.max_queue = 0;
    limits
}

#[test]
fn a_returned_permit_wakes_the_waiter() {
    explore(|| {
        let (pool, _) = pool(one());
        let permit = reserve(&pool);
        let waiting = pool.reserve();
        let waiting = thread::spawn(move || block_on(waiting).expect("not draining"));
        drop(permit);
        let permit = waiting.join().unwrap();
        assert!(pool.try_reserve().is_err(), "it is the only one");
        drop(permit);
        check_empty(&pool);
        assert_eq!(pool.snapshot().permits_free, 1);
    });
}

#[test]
fn who_waits_is_woken_by_higher_limits() {
    explore(|| {
        let (pool, _) = pool(one());
        let permit = reserve(&pool);
        let waiting = pool.reserve();
        let waiting = thread::spawn(move || block_on(waiting).expect("not draining"));
        // Nothing else happens that could give it one.
        pool.set_limits(exclusive());
        let permits = [permit, waiting.join().unwrap()];
        drop(permits);
        check_empty(&pool);
        assert_eq!(pool.snapshot().permits_free, exclusive().permits());
    });
}

#[test]
fn permits_are_granted_in_order() {
    explore(|| {
        let (pool, _) = pool(one());
        let permit = reserve(&pool);
        let (mut first, mut second) = (pool.reserve(), pool.reserve());
        assert!(poll_once(&mut first).is_pending());
        assert!(poll_once(&mut second).is_pending());

        // With another waker than the one that is in the line.
        let waiting = thread::spawn(move || block_on(first).expect("not draining"));
        let giving = thread::spawn(move || drop(permit));
        assert!(pool.try_reserve().is_err());
        assert!(poll_once(&mut second).is_pending());
        giving.join().unwrap();
        let permit = waiting.join().unwrap();
        assert!(poll_once(&mut second).is_pending());

        drop(permit);
        let Poll::Ready(Ok(permit)) = poll_once(&mut second) else { panic!("it is its turn") };
        drop(permit);
        check_empty(&pool);
    });
}

#[test]
fn a_leaving_waiter_passes_its_permit_on() {
    explore(|| {
        let (pool, _) = pool(one());
        let permit = reserve(&pool);
        let (mut first, mut second) = (pool.reserve(), pool.reserve());
        assert!(poll_once(&mut first).is_pending());
        assert!(poll_once(&mut second).is_pending());

        let leaving = thread::spawn(move || drop(first));
        let giving = thread::spawn(move || drop(permit));
        let permit = block_on(second).expect("not draining");
        leaving.join().unwrap();
        giving.join().unwrap();
        drop(permit);
        check_empty(&pool);
        assert_eq!(pool.snapshot().permits_free, 1);
    });
}

#[test]
fn who_waits_learns_of_a_drain() {
    explore_bounded(|| {
        let (pool, _) = pool(one());
        let permit = reserve(&pool);
        let waiting = [pool.reserve(), pool.reserve()].map(|waiting| {
            thread::spawn(move || match block_on(waiting) {
                Ok(_) => panic!("the permit is not given back"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Draining),
            })
        });
        block_on(pool.drain());
        for thread in waiting {
            thread.join().unwrap();
        }
        drop(permit);
        check_empty(&pool);
    });
}

/// A waker that looks at the pool: under the pool's lock, that is a deadlock.
struct Nosy(Pool);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.0.load();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.0.load();
    }
}

#[test]
fn wakers_run_and_drop_outside_the_lock() {
    explore(|| {
        let (pool, mut reaper) = pool(one());
        let nosy = || Waker::from(Arc::new(Nosy(pool.clone())));
        assert!(poll_with(&nosy(), &mut reaper).is_pending());
        let permit = reserve(&pool);
        let (mut first, mut second) = (pool.reserve(), pool.reserve());
        assert!(poll_with(&nosy(), &mut first).is_pending());
        assert!(poll_with(&nosy(), &mut second).is_pending());
        // The old waker is dropped.
        assert!(poll_with(&nosy(), &mut first).is_pending());

        let giving = thread::spawn(move || drop(permit));
        drop(first);
        giving.join().unwrap();
        drop(second);
        let mut drained = pool.drain();
        assert!(poll_with(&nosy(), &mut drained).is_ready());
        assert!(poll_once(&mut reaper).is_pending());
        check_empty(&pool);
    });
}

#[test]
fn try_submit_takes_a_place_or_returns_it() {
    explore(|| {
        let (pool, _) = pool(one());
        let running = pool.try_submit(Item::default()).ok().expect("there is a place");
        let item = Item::default();
        let (error, back) = pool.try_submit(Arc::clone(&item)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(Arc::ptr_eq(&item, &back));
        assert_eq!(pool.snapshot().overloaded, 0, "that is for the caller to say");
        pool.record_rejection();
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.submitted, snapshot.refused, snapshot.overloaded), (1, 0, 1));
        assert!(answer(running));
        assert!(answer(pool.try_submit(item).ok().expect("its place is free")));
        check_empty(&pool);
        drop(pool.drain());
        let (error, _) = pool.try_submit(back).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Draining);
        assert_eq!(pool.snapshot().submitted, 2);
    });
}

#[test]
fn one_of_two_try_submits_gets_the_place() {
    explore(|| {
        let (pool, _) = pool(one());
        let other = pool.clone();
        let other = thread::spawn(move || other.try_submit(Item::default()).ok());
        let mine = pool.try_submit(Item::default()).ok();
        let other = other.join().unwrap();
        assert!(mine.is_some() != other.is_some());
        assert!(mine.or(other).is_some_and(answer));
        check_empty(&pool);
    });
}

#[test]
fn try_submit_does_not_overtake_waiters() {
    explore(|| {
        let (pool, _) = pool(one());
        let permit = reserve(&pool);
        let mut waiting = pool.reserve();
        assert!(poll_once(&mut waiting).is_pending());
        let given_back = thread::spawn(move || drop(permit));
        assert!(pool.try_submit(Item::default()).is_err());
        given_back.join().unwrap();
        assert!(pool.try_submit(Item::default()).is_err(), "it is for who waits");
        assert!(matches!(poll_once(&mut waiting), Poll::Ready(Ok(_))));
        check_empty(&pool);
    });
}

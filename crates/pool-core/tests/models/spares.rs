//! Spares: those who wait for them, against starts, failures and the end of the pool; and limits that
//! ask for more of them while requests come.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use millpond_pool_core::{InstanceId, Limits, Reason};

use crate::clock::Task;
use crate::host::{
    Begin, Host, Item, Pool, answer, begun, check_empty, exclusive, handed_over, pool, reserve,
    run, step, submit,
};
use crate::mode::{block_on, explore, explore_bounded, thread};

/// Three instances, of which so many are kept ready.
fn kept(min_idle: usize) -> Limits {
    let mut limits = exclusive();
    limits.max_instances = 3;
    limits.min_idle = min_idle;
    limits
}

/// A pool whose two spares are starting.
fn warming() -> (Pool, Task, Vec<InstanceId>) {
    let (pool, mut reaper) = Host::new(kept(2)).begin(|| Begin::Later).open();
    step(&mut reaper);
    let spares = pool.driver().guests();
    assert_eq!(spares.len(), 2);
    (pool, reaper, spares)
}

#[test]
fn warm_up_ends_with_the_last_start() {
    explore_bounded(|| {
        let (pool, _, spares) = warming();
        assert!(!pool.is_warmed());
        let starting = spares.into_iter().map(|id| {
            let pool = pool.clone();
            thread::spawn(move || begun(&pool, id))
        });
        let starting: Vec<_> = starting.collect();
        block_on(pool.warmed());
        assert_eq!(pool.snapshot().spares, 2);
        for thread in starting {
            thread.join().unwrap();
        }
        check_empty(&pool);
    });
}

#[test]
fn who_waits_for_spares_learns_of_a_drain() {
    explore(|| {
        let (pool, _, spares) = warming();
        let waiting = pool.warmed();
        let waiting = thread::spawn(move || block_on(waiting));
        let drained = pool.drain();
        waiting.join().unwrap();
        assert!(pool.is_warmed(), "no more will come");
        spares.into_iter().for_each(|id| begun(&pool, id));
        block_on(drained);
        check_empty(&pool);
        assert_eq!(pool.snapshot().instances.live(), 0);
    });
}

#[test]
fn warm_up_ends_when_no_spares_are_wanted() {
    explore(|| {
        let (pool, _, spares) = warming();
        let waiting = pool.warmed();
        let waiting = thread::spawn(move || block_on(waiting));
        pool.set_limits(kept(0));
        waiting.join().unwrap();
        spares.into_iter().for_each(|id| begun(&pool, id));
        check_empty(&pool);
    });
}

#[test]
fn a_spare_started_during_a_drain_ends() {
    explore(|| {
        let (pool, _, spares) = warming();
        let starting = pool.clone();
        let starting =
            thread::spawn(move || spares.into_iter().for_each(|id| begun(&starting, id)));
        block_on(pool.drain());
        block_on(pool.warmed());
        starting.join().unwrap();
        check_empty(&pool);
        assert_eq!(pool.snapshot().instances.live(), 0);
    });
}

#[test]
fn warm_up_ends_after_a_failed_spare() {
    explore_bounded(|| {
        let failed = AtomicBool::new(false);
        let begin = move || if failed.swap(true, SeqCst) { Begin::Started } else { Begin::Failed };
        let (pool, mut reaper) = Host::new(kept(2)).begin(begin).open();
        step(&mut reaper);
        assert!(!pool.is_warmed(), "the next one waits");
        let reaper = run(reaper);
        pool.driver().clock.set(1);
        block_on(pool.warmed());
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.spares, snapshot.failed_starts), (2, 1));
        drop(pool);
        reaper.join().unwrap();
    });
}

#[test]
fn a_taken_spare_does_not_hold_up_warm_up() {
    explore_bounded(|| {
        let (pool, mut reaper) = pool(kept(1));
        let permit = reserve(&pool);
        let asking = pool.clone();
        let asking = thread::spawn(move || {
            let request = asking.submit(permit, Item::default());
            handed_over(&asking, request.request_id()).expect("nothing fails here");
            assert!(answer(request));
        });
        step(&mut reaper);
        block_on(pool.warmed());
        asking.join().unwrap();
        check_empty(&pool);
    });
}

#[test]
fn new_limits_add_spares_beside_requests() {
    explore(|| {
        let (pool, _) = pool(kept(0));
        assert!(answer(submit(&pool)));
        let permit = reserve(&pool);
        let raised = pool.clone();
        let raising = thread::spawn(move || raised.set_limits(kept(1)));
        let request = pool.submit(permit, Item::default());
        raising.join().unwrap();
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.busy, snapshot.spares), (1, 1), "beside the one that serves");

        assert!(answer(request));
        pool.set_limits(kept(2));
        check_empty(&pool);
        assert_eq!(pool.snapshot().instances.idle, 2);
    });
}

#[test]
fn new_limits_add_spares_beside_a_cancel() {
    explore(|| {
        let (pool, _) = pool(kept(0));
        let permit = reserve(&pool);
        let raised = pool.clone();
        let raising = thread::spawn(move || raised.set_limits(kept(1)));
        drop(pool.submit(permit, Item::default()));
        raising.join().unwrap();
        check_empty(&pool);
        let gone = pool.snapshot().retired.get(Reason::Cancelled);
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.spares, snapshot.starts), (1, gone + 1), "{snapshot:?}");
    });
}

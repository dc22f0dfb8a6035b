//! A signal that policies follow, raised and lowered while they are polled, made and dropped.

use millpond_pool_core::expiration::{Expired, Signal, boxed};
use millpond_pool_core::{Failure, InstanceEvent, Reason};

use crate::clock::Task;
use crate::host::{
    Item, Pool, Told, answer, check_empty, exclusive, let_go, pool_with, reserve, run, step, submit,
};
use crate::mode::{block_on, explore, explore_bounded, thread};

const SWAP: Expired = Expired::Drain(Reason::Swap);

/// A pool whose instances end while the signal is raised, once they are idle.
fn following(signal: &Signal) -> (Pool, Task) {
    let signal = signal.clone();
    let mut limits = exclusive();
    limits.max_instances = 2;
    pool_with(limits, move || boxed(signal.follow(SWAP)))
}

fn check_gone(pool: &Pool) {
    check_empty(pool);
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.instances.live(), 0, "{snapshot:?}");
    assert_eq!(snapshot.retired.get(Reason::Swap), snapshot.starts);
}

#[test]
fn a_signal_ends_one_that_becomes_idle() {
    explore(|| {
        let signal = Signal::new();
        let (pool, mut reaper) = following(&signal);
        step(&mut reaper);
        let request = submit(&pool);
        let raising = thread::spawn(move || signal.raise());
        assert!(answer(request), "it finishes what it has");
        raising.join().unwrap();
        step(&mut reaper);
        check_gone(&pool);
    });
}

#[test]
fn a_signal_ends_one_that_starts() {
    explore(|| {
        let signal = Signal::new();
        let followed = signal.clone();
        let at_once = Expired::Retire(Reason::Swap);
        let (pool, mut reaper) = pool_with(exclusive(), move || boxed(followed.follow(at_once)));
        step(&mut reaper);
        let permit = reserve(&pool);
        let raising = thread::spawn(move || signal.raise());
        // Nothing else happens to the instance: its policy is polled once, and when woken.
        let mut request = pool.submit(permit, Item::default());
        raising.join().unwrap();
        step(&mut reaper);
        let told = pool.driver().told(request.request_id());
        assert_eq!(told, Some(Told::Failed(Failure::Retired(Reason::Swap))));
        request.over();
        check_gone(&pool);
    });
}

#[test]
fn a_signal_reaches_a_reaper_about_to_sleep() {
    explore(|| {
        let signal = Signal::new();
        let (pool, reaper) = following(&signal);
        assert!(answer(submit(&pool)));
        let reaper = run(reaper);
        signal.raise();
        block_on(pool.driver().empty());
        drop(pool);
        reaper.join().unwrap();
    });
}

#[test]
fn the_last_change_sets_the_signal() {
    explore(|| {
        let signal = Signal::new();
        let (pool, mut reaper) = following(&signal);
        assert!(answer(submit(&pool)));
        step(&mut reaper);
        let lowered = signal.clone();
        let lowering = thread::spawn(move || lowered.lower());
        signal.raise();
        lowering.join().unwrap();
        step(&mut reaper);

        if signal.is_raised() {
            check_gone(&pool);
            signal.lower();
        }
        assert!(answer(submit(&pool)), "nothing ends it");
        step(&mut reaper);
        check_empty(&pool);
        assert_eq!(pool.snapshot().instances.idle, 1);
        signal.raise();
        step(&mut reaper);
        check_gone(&pool);
    });
}

#[test]
fn a_signal_ends_idle_instances_only() {
    explore(|| {
        let signal = Signal::new();
        let followed = signal.clone();
        let early = Expired::Retire(Reason::Memory);
        let (pool, mut reaper) =
            pool_with(exclusive(), move || boxed(followed.follow(early).when_idle()));
        assert!(answer(submit(&pool)));
        let permit = reserve(&pool);
        step(&mut reaper);

        let raising = thread::spawn(move || {
            signal.raise();
            step(&mut reaper);
            reaper
        });
        let request = pool.submit(permit, Item::default());
        let mut reaper = raising.join().unwrap();
        assert_eq!(pool.driver().told(request.request_id()), None);
        assert!(answer(request), "this or another instance has it");
        step(&mut reaper);
        check_empty(&pool);
        assert_eq!(pool.snapshot().instances.live(), 0);
    });
}

#[test]
fn dropping_a_follower_wakes_the_others() {
    explore(|| {
        let signal = Signal::new();
        let (pool, mut reaper) = following(&signal);
        let mut broken = submit(&pool);
        assert!(answer(submit(&pool)), "by another instance");
        let id = pool.driver().holder(broken.request_id()).expect("started at once");
        step(&mut reaper);
        let raised = signal.clone();
        let raising = thread::spawn(move || raised.raise());
        pool.report(id, InstanceEvent::Broken(Reason::Trap));
        broken.over();
        raising.join().unwrap();
        step(&mut reaper);
        check_empty(&pool);
        assert_eq!(pool.snapshot().instances.live(), 0);
    });
}

#[test]
fn a_signal_may_hold_its_pool_last() {
    explore_bounded(|| {
        let signal = Signal::new();
        let (pool, reaper) = following(&signal);
        assert!(answer(submit(&pool)));
        let reaper = run(reaper);
        // Whatever is dropped by the waking, the policy included, is dropped outside its lock.
        let leaving = thread::spawn(move || let_go(pool));
        signal.raise();
        signal.lower();
        leaving.join().unwrap();
        reaper.join().unwrap();
    });
}

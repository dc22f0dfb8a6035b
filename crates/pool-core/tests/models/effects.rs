//! Effects that come up while a thread carries out effects.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use millpond_pool_core::expiration::BoxExpiration;
use millpond_pool_core::{
    Driver, Failure, Instance, InstanceEvent, InstanceId, PoolHandle, Reason, Refusal, RequestId,
    Start, Submitted,
};

use crate::clock::Clock;
use crate::host::{
    self, Begin, Host, Item, Pool, Told, answer, check_empty, exclusive, reserve, submit,
};
use crate::mode::{Mutex, explore, thread};

/// A pool whose first instance starts, and none after it.
fn only_one_starts(queue: usize) -> Pool {
    let mut limits = exclusive();
    limits.max_queue = queue;
    let started = AtomicBool::new(false);
    let begin = move || if started.swap(true, SeqCst) { Begin::Failed } else { Begin::Started };
    Host::new(limits).begin(begin).open().0
}

/// Ends the instance that has the request, and with it what the others wait for.
fn break_it(pool: &Pool, mut running: Submitted<Host>) {
    let id = pool.driver().holder(running.request_id()).expect("started at once");
    pool.report(id, InstanceEvent::Broken(Reason::Trap));
    running.over();
}

fn check_refused(pool: &Pool, requests: impl IntoIterator<Item = Submitted<Host>>) {
    let mut refused = 0;
    for mut request in requests {
        let told = pool.driver().told(request.request_id());
        assert_eq!(told, Some(Told::Refused(Refusal::StartFailed)));
        request.over();
        refused += 1;
    }
    assert_eq!(pool.snapshot().refused, refused);
    check_empty(pool);
}

#[test]
fn immediate_failures_leave_no_waiter() {
    explore(|| {
        let pool = only_one_starts(3);
        let running = submit(&pool);
        let waiting = [submit(&pool), submit(&pool)];
        let permit = reserve(&pool);
        let asking = pool.clone();
        let asking = thread::spawn(move || asking.submit(permit, Item::default()));
        break_it(&pool, running);
        let last = asking.join().unwrap();
        check_refused(&pool, waiting.into_iter().chain([last]));
    });
}

/// Submits to another driver's pool what its own refuses.
struct PassesOn {
    clock: Clock,
    other: Pool,
    passed_on: Mutex<Vec<Submitted<Host>>>,
}

impl Driver for PassesOn {
    type Item = ();
    type Slot = ();
    type Runtime = Clock;

    fn runtime(&self) -> &Clock {
        &self.clock
    }

    fn expiration(&self, _: InstanceId) -> BoxExpiration {
        unreachable!("nothing starts")
    }

    fn start(&self, _: &PoolHandle<Self>, _: Instance<Self>, _: Start<()>) {
        unreachable!("nothing starts")
    }

    fn assign(&self, _: &PoolHandle<Self>, _: Instance<Self>, _: RequestId, (): ()) {}

    fn refuse(&self, _: RequestId, (): (), _: Refusal) {
        let request = submit(&self.other);
        let holder = self.other.driver().holder(request.request_id());
        assert_eq!(holder, None, "its start comes after this");
        self.passed_on.lock().unwrap().push(request);
    }

    fn fail(&self, _: Instance<Self>, _: RequestId, _: Failure) {}

    fn retire(&self, _: &PoolHandle<Self>, _: Instance<Self>, _: Reason) {}
}

#[test]
fn another_pools_effects_run_in_the_turn() {
    explore(|| {
        let (other, _reaper) = host::pool(exclusive());
        let driver = PassesOn {
            clock: Clock::default(),
            other: other.clone(),
            passed_on: Mutex::new(Vec::new()),
        };
        let pool = PoolHandle::new(driver, exclusive(), 0);
        let permits = [pool.try_reserve().unwrap(), pool.try_reserve().unwrap()];
        drop(pool.drain());
        for permit in permits {
            pool.submit(permit, ()).over();
            let passed_on = pool.driver().passed_on.lock().unwrap().pop();
            assert!(answer(passed_on.expect("it was refused")), "an instance started for it");
        }
        drop(pool);
        check_empty(&other);
    });
}

/// Only on real threads: the stack is theirs, and under a checker a thousand requests take too long.
#[cfg(not(any(loom, shuttle)))]
#[test]
fn immediate_failures_do_not_recurse() {
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let model = small.spawn(|| {
        let pool = only_one_starts(1000);
        let running = submit(&pool);
        let waiting: Vec<_> = (0..1000).map(|_| submit(&pool)).collect();
        break_it(&pool, running);
        check_refused(&pool, waiting);
    });
    model.unwrap().join().unwrap();
}

/// Only on real threads: the checkers take any panic for a failure.
#[cfg(not(any(loom, shuttle)))]
mod panics {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::host::BudgetFixture;
    use crate::mode::explore;

    /// The starts with these numbers panic, counted from 0.
    fn panicking(which: &'static [usize]) -> Host {
        let mut limits = exclusive();
        limits.max_instances = 3;
        let starts = AtomicUsize::new(0);
        Host::new(limits).begin(move || {
            let panics = which.contains(&starts.fetch_add(1, SeqCst));
            if panics { Begin::Panic } else { Begin::Started }
        })
    }

    /// Two wait for an instance each, and get it by one change.
    fn two_at_once(pool: &Pool) -> [Submitted<Host>; 2] {
        let mut none = pool.limits();
        none.max_running = Some(0);
        let usual = pool.limits();
        pool.set_limits(none);
        let waiting = [submit(pool), submit(pool)];
        let given = catch_unwind(AssertUnwindSafe(|| pool.set_limits(usual)));
        assert!(given.is_err(), "the caller of the change learns of it");
        waiting
    }

    #[test]
    fn effects_after_a_panicking_start_run() {
        explore(|| {
            let (pool, _) = panicking(&[0]).open();
            let [mut first, second] = two_at_once(&pool);
            assert!(answer(second), "its start comes after the one that panicked");
            assert!(answer(submit(&pool)), "and so does any other");
            first.over();
        });
    }

    #[test]
    fn a_second_panic_is_no_end_of_the_process() {
        explore(|| {
            let (pool, _) = panicking(&[0, 1]).open();
            for mut request in two_at_once(&pool) {
                request.over();
            }
            assert!(answer(submit(&pool)));
        });
    }

    #[test]
    fn the_budget_hears_of_a_start_that_panics() {
        explore(|| {
            let fixture = BudgetFixture::new(3);
            let one = fixture.admit(panicking(&[0]), 0);
            let other = fixture.pool(exclusive());
            let [mut first, second] = two_at_once(&one);
            assert!(answer(second));
            first.over();
            assert!(answer(submit(&other)));
            assert_eq!(fixture.used(), 3, "the budget still counts the start that panicked");
        });
    }
}

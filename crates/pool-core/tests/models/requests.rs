//! Requests against all that can come between: the end of an instance, the caller's departure,
//! a drain, one another.

use millpond_pool_core::{Failure, InstanceEvent, InstanceId, Limits, Reason, Refusal};

use crate::host::{
    Item, Pool, Request, Told, answer, check_empty, exclusive, finish, finish_abandoned, pool,
    reserve, shared, submit,
};
use crate::mode::{block_on, explore, explore_bounded, thread};

/// A request is submitted while the only instance, which is idle, goes away.
fn submit_while(limits: fn() -> Limits, gone: fn(&Pool, InstanceId), reason: Reason) {
    explore(move || {
        let (pool, _) = pool(limits());
        let first = submit(&pool);
        let id = pool.driver().holder(first.request_id()).expect("started at once");
        assert!(answer(first));

        let permit = reserve(&pool);
        let going = pool.clone();
        let going = thread::spawn(move || gone(&going, id));
        let mut request = pool.submit(permit, Item::default());
        going.join().unwrap();

        match pool.driver().told(request.request_id()) {
            // It was there first.
            Some(told) => {
                assert_eq!(told, Told::Failed(Failure::Retired(reason)));
                request.over();
            }
            None => assert!(answer(request), "an instance has it: {:?}", pool.snapshot()),
        }
        check_empty(&pool);
    });
}

fn drained(pool: &Pool, id: InstanceId) {
    pool.report(id, InstanceEvent::Drain(Reason::Swap));
}

fn broken(pool: &Pool, id: InstanceId) {
    pool.report(id, InstanceEvent::Broken(Reason::Trap));
}

#[test]
fn a_closing_instance_orphans_no_request() {
    submit_while(exclusive, drained, Reason::Swap);
}

#[test]
fn a_closing_shared_one_orphans_no_request() {
    submit_while(shared, drained, Reason::Swap);
}

#[test]
fn a_breaking_instance_orphans_no_request() {
    submit_while(exclusive, broken, Reason::Trap);
}

#[test]
fn a_breaking_shared_one_orphans_no_request() {
    submit_while(shared, broken, Reason::Trap);
}

#[test]
fn leaving_during_an_assign_leaks_nothing() {
    explore(|| {
        let (pool, _) = pool(exclusive());
        let first = submit(&pool);
        let second = Item::default();
        let waiting = pool.submit(reserve(&pool), second.clone());

        let leaving = thread::spawn(move || drop(waiting));
        assert!(answer(first));
        leaving.join().unwrap();

        assert_eq!(pool.snapshot().cancelled, 1);
        assert_eq!(Item::strong_count(&second), 1, "the request is not kept");
        check_empty(&pool);
        assert!(answer(submit(&pool)), "the seat is free");
        check_empty(&pool);
    });
}

#[test]
fn leaving_during_a_start_leaks_nothing() {
    for limits in [exclusive, shared] {
        explore(move || {
            let (pool, _) = pool(limits());
            let mut requests: Vec<_> = (0..limits().concurrency).map(|_| submit(&pool)).collect();
            let id = pool.driver().holder(requests[0].request_id()).expect("started at once");
            let last = Item::default();
            let waiting = pool.submit(reserve(&pool), last.clone());
            let request_id = waiting.request_id();

            let leaving = thread::spawn(move || drop(waiting));
            // Those on it fail; another is started for the one that waits.
            broken(&pool, id);
            leaving.join().unwrap();

            for request in &mut requests {
                let told = pool.driver().told(request.request_id());
                assert_eq!(told, Some(Told::Failed(Failure::Retired(Reason::Trap))));
                request.over();
            }
            assert_eq!(pool.snapshot().cancelled, 1);
            finish_abandoned(&pool, request_id);
            assert_eq!(Item::strong_count(&last), 1, "the request is not kept");
            check_empty(&pool);
            assert!(answer(submit(&pool)), "the seat is free");
            check_empty(&pool);
        });
    }
}

#[test]
fn a_drain_serves_or_refuses_a_request() {
    explore(|| {
        let (pool, _) = pool(exclusive());
        let permit = reserve(&pool);
        let submitting = pool.clone();
        let submitting = thread::spawn(move || {
            let mut request = submitting.submit(permit, Item::default());
            match submitting.driver().told(request.request_id()) {
                Some(told) => {
                    assert_eq!(told, Told::Refused(Refusal::Draining));
                    request.over();
                }
                None => assert!(answer(request)),
            }
        });
        block_on(pool.drain());
        submitting.join().unwrap();
        check_empty(&pool);
        let snapshot = pool.snapshot();
        assert_eq!(snapshot.responded + snapshot.refused, 1);
        assert_eq!(snapshot.instances.live(), 0);
    });
}

#[test]
fn a_stopped_drain_ends_despite_a_request() {
    explore(|| {
        let (pool, _) = pool(exclusive());
        let mut running = submit(&pool);
        let permit = reserve(&pool);
        let submitting = pool.clone();
        let submitting = thread::spawn(move || {
            let mut request = submitting.submit(permit, Item::default());
            request.over();
            request.request_id()
        });
        let drained = pool.drain();
        pool.stop();
        block_on(drained);
        let queued = submitting.join().unwrap();
        running.over();

        let retired = Told::Failed(Failure::Retired(Reason::Drain));
        assert_eq!(pool.driver().told(running.request_id()), Some(retired));
        let refused = Told::Refused(Refusal::Draining);
        assert_eq!(pool.driver().told(queued), Some(refused));
        check_empty(&pool);
    });
}

#[test]
fn two_ends_on_a_shared_one_make_room() {
    explore_bounded(|| {
        let (pool, _) = pool(shared());
        let ending = [submit(&pool), submit(&pool)].map(|mut request| {
            let id = pool.driver().holder(request.request_id()).expect("both fit");
            assert!(pool.responded(request.request_id()));
            thread::spawn(move || finish(&mut request, id))
        });
        let mut request = submit(&pool);
        for thread in ending {
            thread.join().unwrap();
        }

        let snapshot = pool.snapshot();
        assert_eq!((snapshot.busy, snapshot.instances.busy, snapshot.starts), (1, 1, 1));
        let id = pool.driver().holder(request.request_id()).expect("there is room");
        assert!(pool.responded(request.request_id()));
        request.ended(id);
        let gauges = pool.snapshot().instances;
        assert_eq!(gauges.post_return, 1, "the guest has not been reported quiet since");
        finish(&mut request, id);
        check_empty(&pool);
    });
}

#[test]
fn requests_are_dropped_outside_the_lock() {
    explore(|| {
        let (pool, _) = pool(exclusive());
        let item = || Item::new(Request(Some(pool.clone())));
        let [mut running, leaving, mut waiting] =
            [(); 3].map(|()| pool.submit(reserve(&pool), item()));
        let id = pool.driver().holder(running.request_id()).expect("started at once");

        let leaving = thread::spawn(move || drop(leaving));
        broken(&pool, id);
        pool.stop();
        leaving.join().unwrap();
        pool.report(id, InstanceEvent::Returned(running.request_id(), item()));
        pool.report(id, InstanceEvent::Exhausted { request: Some((running.request_id(), item())) });
        running.over();
        waiting.over();
        check_empty(&pool);
    });
}

#[test]
fn running_is_load_and_refusals_are_counted() {
    explore(|| {
        let (pool, _) = pool(exclusive());
        let running = submit(&pool);
        pool.record_rejection();
        assert_eq!(pool.load(), 1);
        assert_eq!(pool.snapshot().overloaded, 1);
        assert!(answer(running));
        assert_eq!(pool.load(), 0);
    });
}

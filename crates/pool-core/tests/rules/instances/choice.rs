//! Instances: which one serves, when another is started, and how many requests one serves.

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::state::{Effect, Pool};
use millpond_pool_core::{InstanceEvent, MaxRequests, Reason};
use std::sync::Arc;
use std::time::Duration;

/// Three exclusive instances, started, each having served one request.
fn three_idle() -> Rig {
    let mut rig = Rig::new(exclusive(3));
    rig.submit_many(3);
    for instance in 1..=3 {
        rig.started(instance);
    }
    rig.finish(2);
    rig.finish(3);
    rig.finish(1);
    rig.take();
    rig
}

#[test]
fn the_last_used_instance_serves_first() {
    let mut rig = three_idle();
    rig.submit_many(3);
    assert_eq!(rig.take(), ["assign 4 to 1", "assign 5 to 3", "assign 6 to 2"]);
}

#[test]
fn one_caller_keeps_one_instance_warm() {
    let mut rig = three_idle();
    for _ in 0..5 {
        let request = rig.submit();
        rig.finish(request);
    }
    let to_1: Vec<_> = (4..9).map(|request| format!("assign {request} to 1")).collect();
    assert_eq!(rig.take(), to_1);
}

#[test]
fn the_last_used_shared_one_serves_first() {
    let mut rig = Rig::new(shared(2, 2));
    rig.submit_many(3);
    rig.started(1);
    rig.settled(1);
    assert_eq!(rig.take(), ["start 1", "start 2", "assign 1 to 1", "assign 2 to 1"]);
    rig.started(2);
    assert_eq!(rig.take(), ["assign 3 to 2"]);
    rig.settled(2);
    rig.settled(1);
    rig.failed(1);
    rig.submit();
    assert_eq!(rig.take(), ["assign 4 to 1"], "its seat came free last");
}

#[test]
fn an_exclusive_one_is_taken_once_quiet() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    assert!(rig.responded(1));
    rig.ended(1);
    assert_eq!(rig.pool.snapshot().instances.post_return, 1);
    assert_eq!(rig.take(), [""; 0], "it does its post-return work");
    rig.quiet(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn a_quiet_exclusive_one_awaits_its_body() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(2);
    rig.started(1);
    assert!(rig.responded(1));
    rig.quiet(1);
    assert_eq!(rig.take(), ["start 1 for 1"]);
    rig.ended(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn a_crossed_quiet_predates_the_hand_over() {
    let mut rig = Rig::new(with(shared(1, 4), |limits| {
        limits.max_requests = MaxRequests::exactly(2);
    }));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    assert!(rig.responded(1));
    rig.ended(1);
    rig.submit();
    rig.quiet(1);
    assert!(rig.responded(2));
    rig.ended(2);
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1"]);
    assert_eq!(rig.pool.snapshot().instances.post_return, 1);
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: requests"]);
}

#[test]
fn instances_count_until_they_are_dropped() {
    let mut rig = Rig::new(with(exclusive(1), |limits| {
        limits.max_requests = MaxRequests::exactly(1);
    }));
    rig.submit_many(2);
    rig.started(1);
    rig.finish(1);
    assert_eq!(rig.take(), ["start 1 for 1", "retire 1: requests"]);
    assert_eq!(rig.pool.snapshot().instances.retiring, 1);
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2 for 2"]);
}

#[test]
fn a_burst_of_16_starts_one_shared_instance() {
    let mut rig = Rig::new(shared(100, 16));
    rig.submit_many(16);
    assert_eq!(rig.take(), ["start 1"]);
    rig.submit();
    assert_eq!(rig.take(), ["start 2"], "for the 17th");
}

#[test]
fn a_settled_instance_takes_the_next() {
    let mut rig = Rig::new(shared(100, 16));
    rig.submit_many(16);
    rig.started(1);
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1"]);
    for request in 2..=16 {
        rig.settled(1);
        assert_eq!(rig.take(), [format!("assign {request} to 1")]);
    }
    assert_eq!(rig.pool.snapshot().busy, 16);
}

#[test]
fn a_long_settling_starts_another_instance() {
    let mut rig = Rig::new(with(shared(100, 16), |limits| limits.settle_time = 5 * MS));
    rig.submit_many(16);
    rig.started(1);
    rig.take();
    rig.at(5 * MS - MS / 2);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(5 * MS);
    assert_eq!(rig.take(), ["start 2"], "one for all 15");
    rig.started(2);
    assert_eq!(rig.take(), ["assign 2 to 2"]);
    rig.settled(1);
    assert_eq!(rig.take(), ["assign 3 to 1"], "the first one is back");
}

#[test]
fn zero_settle_time_awaits_no_guest() {
    let mut rig = Rig::new(with(shared(3, 16), |limits| limits.settle_time = Duration::ZERO));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.at(MS);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn endless_settle_time_awaits_the_guest() {
    let mut rig = Rig::new(with(shared(3, 16), |limits| limits.settle_time = NEVER));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.at(secs(4));
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn a_shared_one_keeps_to_its_concurrency() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit_many(4);
    rig.started(1);
    rig.settled(1);
    rig.settled(1);
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1"]);
    assert!(rig.responded(1));
    assert_eq!(rig.take(), [""; 0], "an open body holds its seat");
    rig.ended(1);
    assert_eq!(rig.take(), ["assign 3 to 1"]);
}

#[test]
fn concurrency_of_none_is_taken_as_one() {
    let mut rig = Rig::new(shared(1, 0));
    rig.submit_many(2);
    rig.started(1);
    rig.finish(1);
    assert_eq!(rig.take(), ["start 1 for 1", "assign 2 to 1"]);
}

#[test]
fn backpressure_holds_until_released() {
    let mut rig = Rig::new(shared(1, 4));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.backpressure(1, true);
    rig.submit();
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1"]);
    rig.backpressure(1, false);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

#[test]
fn lasting_backpressure_ends_an_idle_one() {
    let mut rig = Rig::new(shared(1, 4));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.backpressure(1, true);
    rig.submit();
    rig.take();
    rig.failed(1);
    assert_eq!(rig.take(), [""; 0], "its guest still works, and may take it back");
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: host"]);
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2"], "for those who waited");
}

#[test]
fn backpressure_while_settling_starts_one() {
    let mut rig = Rig::new(shared(2, 4));
    rig.submit_many(2);
    rig.started(1);
    rig.take();
    rig.backpressure(1, true);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn an_exclusive_one_serves_max_requests() {
    let three = |limits: &mut millpond_pool_core::Limits| {
        limits.max_requests = MaxRequests::exactly(3);
    };
    let mut rig = Rig::new(with(exclusive(1), three));
    for request in 1..=3 {
        rig.submit();
        if request == 1 {
            rig.started(1);
        }
        rig.take();
        rig.finish(request);
    }
    assert_eq!(rig.take(), ["retire 1: requests"]);
}

#[test]
fn a_shared_one_serves_max_requests() {
    let mut rig = Rig::new(with(shared(1, 16), |limits| {
        limits.max_requests = MaxRequests::exactly(3);
    }));
    rig.submit_many(5);
    rig.started(1);
    for _ in 0..5 {
        rig.settled(1);
    }
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1", "assign 3 to 1"]);
    for request in 1..=3 {
        rig.failed(request);
    }
    assert_eq!(rig.take(), [""; 0], "its guest still works");
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: requests"]);
}

#[test]
fn leftover_requests_start_more_instances() {
    let mut rig = Rig::new(with(shared(9, 16), |limits| {
        limits.max_requests = MaxRequests::exactly(3);
    }));
    rig.submit_many(7);
    assert_eq!(rig.take(), ["start 1", "start 2", "start 3"]);
}

#[test]
fn shortened_quotas_differ_and_stay_below() {
    let served = |seed| {
        let mut rig = Rig::seeded(
            with(exclusive(1), |limits| {
                limits.max_requests = MaxRequests::exactly(100).shortened_by(0.25);
            }),
            seed,
        );
        rig.submit();
        rig.started(1);
        let mut request = 1;
        loop {
            rig.finish(request);
            if rig.take().contains(&"retire 1: requests".to_owned()) {
                return request;
            }
            request = rig.submit();
        }
    };
    let mut numbers: Vec<u64> = (0..20).map(served).collect();
    assert!(numbers.iter().all(|number| (76..=100).contains(number)), "{numbers:?}");
    assert_eq!(served(3), numbers[3], "the same seed gives the same number");
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() > 5, "{numbers:?}");
}

#[test]
fn an_instance_keeps_one_handle() {
    let mut pool: Pool<(), Arc<()>> = Pool::new(exclusive(1), 0);
    let now = std::time::Instant::now();
    let permit = pool.handle_reserve().unwrap();
    let _request_id = pool.handle_submit(now, permit, ());
    let Some(Effect::Start { id, handle: first, .. }) = pool.poll_effect() else { panic!() };
    pool.handle_instance(now, id, InstanceEvent::Broken(Reason::Host));
    let Some(Effect::Retire { handle, .. }) = pool.poll_effect() else { panic!() };
    assert!(Arc::ptr_eq(&first, &handle));
    drop(handle);
    pool.handle_instance(now, id, InstanceEvent::Dropped);
    let Some(Effect::Fail { handle, .. }) = pool.poll_effect() else { panic!() };
    drop(handle);
    let Some(Effect::Gone { handle }) = pool.poll_effect() else { panic!() };
    assert!(Arc::ptr_eq(&first, &handle));
    drop(handle);
    assert_eq!(Arc::strong_count(&first), 1, "the pool keeps nothing of it");
}

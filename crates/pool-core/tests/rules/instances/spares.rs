//! Spares: instances made ahead, when they are made, and who gets them.

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{boxed, idle_timeout, standard};
use millpond_pool_core::{Limits, MaxRequests, Reason};

fn spares(instances: usize, min_idle: usize) -> Limits {
    with(exclusive(instances), |limits| limits.min_idle = min_idle)
}

/// One request for each instance.
fn fresh(instances: usize, min_idle: usize) -> Limits {
    with(spares(instances, min_idle), |limits| limits.max_requests = MaxRequests::exactly(1))
}

/// All spares have started.
fn warm(limits: Limits) -> Rig {
    let many = limits.min_idle as u64;
    let mut rig = Rig::new(limits);
    rig.look();
    (1..=many).for_each(|spare| rig.started(spare));
    rig.take();
    rig
}

#[test]
fn the_first_timeout_makes_spares() {
    let mut rig = Rig::new(spares(4, 2));
    assert_eq!(rig.take(), [""; 0]);
    rig.look();
    assert_eq!(rig.take(), ["start 1", "start 2"]);
    rig.started(1);
    rig.started(2);
    assert_eq!((rig.take().len(), rig.pool.snapshot().spares), (0, 2));
}

#[test]
fn max_instances_bounds_spares() {
    let mut rig = Rig::new(spares(2, 5));
    rig.look();
    assert_eq!(rig.take(), ["start 1", "start 2"]);
}

#[test]
fn a_spare_is_replaced_after_its_request() {
    let mut rig = warm(spares(4, 1));
    rig.submit();
    assert_eq!((rig.take(), rig.timeout()), (vec!["assign 1 to 1".into()], Some(250 * MS)));
    rig.at(250 * MS);
    assert_eq!(rig.take(), ["start 2"]);
    assert_eq!(rig.timeout(), Some(secs(10)), "its start");
}

#[test]
fn a_spare_used_under_load_is_replaced_soon() {
    let mut rig = warm(spares(4, 2));
    rig.submit_many(2);
    assert_eq!(rig.take(), ["assign 1 to 2", "assign 2 to 1"]);
    assert_eq!(rig.timeout(), Some(MS));
    rig.at(MS);
    assert_eq!(rig.take(), ["start 3", "start 4"]);
}

#[test]
fn a_request_runs_alone_however_many_wait() {
    let mut rig = Rig::new(spares(1, 1));
    rig.look();
    rig.submit_many(2);
    rig.started(1);
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1"]);
    assert_eq!(rig.timeout(), Some(250 * MS));
}

#[test]
fn a_pool_is_warm_once_enough_have_started() {
    let mut rig = Rig::new(spares(2, 2));
    rig.look();
    rig.started(1);
    rig.submit();
    assert!(!rig.pool.is_warmed());
    rig.started(2);
    assert_eq!((rig.take().len(), rig.pool.snapshot().instances.idle), (3, 1));
    assert!(rig.pool.is_warmed());
}

#[test]
fn who_finds_no_spare_has_them_made() {
    let mut rig = warm(spares(4, 1));
    rig.submit_many(2);
    assert_eq!(rig.take(), ["assign 1 to 1", "start 2 for 2", "start 3"]);
}

#[test]
fn a_spare_serves_a_fresh_request_and_ends() {
    let mut rig = warm(fresh(4, 1));
    rig.submit();
    assert_eq!(rig.take(), ["assign 1 to 1"]);
    rig.finish(1);
    assert_eq!(rig.take(), ["retire 1: requests"]);
    rig.dropped(1);
    assert_eq!(rig.take(), ["start 2"], "once its store is gone");
}

#[test]
fn instances_that_came_free_count_as_spares() {
    let mut rig = Rig::new(spares(4, 1));
    rig.submit();
    rig.started(1);
    rig.started(2);
    rig.finish(1);
    rig.take();
    rig.submit();
    assert_eq!(rig.take(), ["assign 2 to 1"], "one is idle still");
    rig.submit();
    assert_eq!(rig.take(), ["assign 3 to 2"]);
    rig.at(MS);
    assert_eq!(rig.take(), ["start 3"]);
}

#[test]
fn a_request_waits_for_a_starting_spare() {
    for limits in [spares(4, 1), with(shared(4, 2), |limits| limits.min_idle = 1)] {
        let mut rig = Rig::new(limits);
        rig.look();
        rig.submit();
        assert_eq!(rig.take(), ["start 1"]);
        rig.started(1);
        rig.look();
        assert_eq!(rig.take(), ["assign 1 to 1", "start 2"]);
    }
}

#[test]
fn a_failed_spare_refuses_no_request() {
    let mut rig = Rig::new(spares(4, 1));
    rig.look();
    rig.submit();
    rig.take();
    rig.start_failed(1);
    assert_eq!(rig.take(), ["start 2 for 1"]);
    assert_eq!(rig.pool.snapshot().refused, 0);
}

#[test]
fn only_used_instances_idle_out() {
    let mut rig = warm(spares(4, 1)).policy(|| boxed(idle_timeout(secs(10))));
    rig.at(secs(100));
    assert_eq!(rig.take(), [""; 0]);
    let mut rig = warm(spares(4, 1)).policy(|| boxed(standard()));
    rig.submit();
    rig.look();
    rig.started(2);
    rig.finish(1);
    rig.take();
    rig.at(secs(100));
    assert_eq!(rig.take(), ["retire 1: idle"]);
}

#[test]
fn failing_spares_back_off() {
    let mut rig = Rig::new(with(spares(4, 1), |limits| limits.start_timeout = NEVER));
    rig.look();
    for (spare, wait) in
        (1..).zip([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(|ms| ms * MS))
    {
        assert_eq!(rig.take(), [format!("start {spare}")]);
        rig.start_failed(spare);
        let at = rig.elapsed() + wait;
        assert_eq!((rig.take().len(), rig.timeout()), (0, Some(at)));
        rig.at(at - MS);
        assert_eq!(rig.take(), [""; 0]);
        rig.at(at);
    }
}

#[test]
fn a_spare_that_was_used_ends_the_back_off() {
    let mut rig = Rig::new(spares(9, 1));
    rig.look();
    rig.start_failed(1);
    rig.at(100 * MS);
    rig.start_failed(2);
    rig.at(300 * MS);
    rig.started(3);
    rig.submit();
    rig.look();
    assert_eq!(rig.take(), ["start 1", "start 2", "start 3", "assign 1 to 3", "start 4"]);
    rig.start_failed(4);
    assert_eq!(rig.timeout(), Some(400 * MS), "100 ms again");
}

#[test]
fn a_spare_start_timeout_is_a_failure() {
    let mut rig = Rig::new(with(spares(1, 1), |limits| limits.start_timeout = secs(3)));
    rig.look();
    rig.at(secs(3));
    assert_eq!(rig.take(), ["start 1", "retire 1: timeout"]);
    rig.dropped(1);
    rig.at(secs(3) + 99 * MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(3) + 100 * MS);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn an_unused_spares_trap_is_a_failure() {
    let mut rig = warm(spares(4, 1));
    rig.broken(1, Reason::Trap);
    assert_eq!(rig.take(), ["retire 1: trap"], "the next one waits");
    rig.at(100 * MS);
    assert_eq!(rig.take(), ["start 2"]);
}

#[test]
fn a_swapped_spare_has_not_failed() {
    let mut rig = warm(spares(4, 2));
    for spare in [1, 3, 5] {
        rig.close(spare, Reason::Swap);
        rig.close(spare + 1, Reason::Swap);
        let (old, new) = ([spare, spare + 1], [spare + 2, spare + 3]);
        let expected =
            [0, 1].map(|n| [format!("retire {}: swap", old[n]), format!("start {}", new[n])]);
        assert_eq!(rig.take(), expected.concat(), "at once, however often");
        old.into_iter().for_each(|spare| rig.dropped(spare));
        new.into_iter().for_each(|spare| rig.started(spare));
        rig.take();
    }
}

#[test]
fn failing_spares_hold_up_no_request() {
    let mut rig = Rig::new(spares(4, 1));
    rig.look();
    rig.start_failed(1);
    rig.take();
    rig.submit();
    assert_eq!(rig.take(), ["start 2 for 1"]);
}

#[test]
fn spares_are_reclaimed_first_and_back_off() {
    let mut rig = Rig::new(spares(4, 2)).budgeted();
    rig.submit();
    (0..3).for_each(|_| rig.grant());
    (1..=3).for_each(|instance| rig.started(instance));
    rig.finish(1);
    rig.take();
    rig.reclaim();
    assert_eq!(rig.take(), ["retire 2: pressure"], "not 1, which has been of use");
    rig.dropped(2);
    rig.reclaim();
    assert_eq!(rig.take(), ["retire 3: pressure"]);
    rig.dropped(3);
    assert_eq!(rig.claim().spares, 0);
    rig.at(secs(1) - MS);
    assert_eq!(rig.claim().spares, 0);
    rig.at(secs(1));
    assert_eq!(rig.claim().spares, 1);
}

#[test]
fn the_least_recently_used_is_reclaimed() {
    let mut rig = Rig::new(exclusive(2)).budgeted();
    rig.submit_many(2);
    (0..2).for_each(|_| rig.grant());
    rig.started(1);
    rig.started(2);
    rig.finish(2);
    rig.finish(1);
    rig.take();
    rig.reclaim();
    assert_eq!(rig.take(), ["retire 2: pressure"]);
}

#[test]
fn a_lower_min_idle_ends_excess_spares() {
    let mut rig = warm(spares(4, 3));
    rig.set_limits(spares(4, 1));
    assert_eq!(rig.take(), ["retire 1: idle", "retire 2: idle"]);
}

#[test]
fn new_limits_count_freed_instances_first() {
    let mut rig = warm(spares(5, 3));
    rig.submit();
    rig.look();
    rig.started(4);
    rig.finish(1);
    rig.take();
    rig.set_limits(spares(5, 2));
    assert_eq!(rig.take(), ["retire 1: idle", "retire 2: idle"], "of four idle ones");
}

#[test]
fn excess_starting_spares_end_once_up() {
    let mut rig = Rig::new(spares(4, 2));
    rig.look();
    rig.set_limits(spares(4, 0));
    rig.take();
    rig.started(1);
    assert_eq!(rig.take(), ["retire 1: idle"]);
    rig.submit();
    rig.started(2);
    assert_eq!(rig.take(), ["assign 1 to 2"], "if no request waits for them");
}

#[test]
fn a_raised_min_idle_makes_spares_at_once() {
    let mut rig = warm(spares(8, 3));
    rig.set_limits(spares(8, 0));
    rig.take();
    rig.set_limits(spares(8, 2));
    assert_eq!(rig.take(), ["start 4", "start 5"]);
}

#[test]
fn a_backpressured_spare_is_not_doubled() {
    let mut rig = warm(spares(4, 1));
    rig.backpressure(1, true);
    assert_eq!((rig.take().len(), rig.pool.snapshot().spares), (0, 0));
    rig.backpressure(1, false);
    assert_eq!(rig.pool.snapshot().spares, 1);
}

#[test]
fn a_drain_ends_spares_and_makes_none() {
    let mut rig = warm(spares(4, 2));
    rig.drain();
    assert_eq!(rig.take(), ["retire 1: drain", "retire 2: drain"]);
    rig.dropped(1);
    rig.dropped(2);
    assert!(rig.pool.is_drained());
    assert_eq!((rig.take().len(), rig.timeout()), (0, None));
}

#[test]
fn a_warm_pool_stays_warm() {
    let mut rig = Rig::new(spares(4, 2));
    rig.look();
    rig.started(1);
    assert!(!rig.pool.is_warmed());
    rig.started(2);
    assert!(rig.pool.is_warmed());
    rig.submit();
    assert!(rig.pool.is_warmed());
}

#[test]
fn a_draining_pool_counts_as_warm() {
    let mut rig = Rig::new(spares(4, 2));
    rig.look();
    rig.drain();
    assert!(rig.pool.is_warmed());
}

#[test]
fn warm_up_is_bounded_by_max_instances() {
    let mut rig = Rig::new(spares(1, 5));
    rig.look();
    rig.started(1);
    assert!(rig.pool.is_warmed());
}

#[test]
fn exhausted_spares_back_off() {
    let mut rig = warm(spares(4, 1));
    rig.submit();
    rig.look();
    rig.take();
    rig.exhausted(2);
    rig.at(99 * MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(100 * MS);
    assert_eq!(rig.take(), ["start 3"]);
}

#[test]
fn policies_see_which_instance_is_a_spare() {
    let mut rig = warm(spares(4, 1));
    assert!(rig.newest_poll(1).view.spare);
    rig.submit();
    assert!(!rig.newest_poll(1).view.spare);
    rig.finish(1);
    assert!(!rig.newest_poll(1).view.spare, "it has been of use");
}

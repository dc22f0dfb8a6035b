//! Limits that change while the pool runs.

use crate::common::{MS, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{boxed, standard};
use millpond_pool_core::{Limits, MaxRequests};

/// Instances that have served one request each and are idle, the last one used last.
fn idle(limits: Limits) -> Rig {
    let many = limits.max_instances as u64;
    let mut rig = Rig::new(limits);
    rig.submit_many(usize::try_from(many).unwrap());
    (1..=many).for_each(|instance| rig.started(instance));
    (1..=many).for_each(|request| rig.finish(request));
    rig.take();
    rig
}

fn at_most(limits: Limits, requests: u64) -> Limits {
    with(limits, |limits| limits.max_requests = MaxRequests::exactly(requests))
}

#[test]
fn a_lower_limit_ends_idle_at_once() {
    let mut rig = idle(exclusive(3));
    rig.set_limits(exclusive(1));
    assert_eq!(rig.take(), ["retire 1: pressure", "retire 2: pressure"]);
}

#[test]
fn a_lower_limit_ends_busy_once_idle() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.started(1);
    rig.started(2);
    rig.set_limits(exclusive(1));
    rig.take();
    rig.finish(2);
    assert_eq!(rig.take(), ["retire 2: pressure"]);
    rig.finish(1);
    assert_eq!(rig.take(), [""; 0], "this one may stay");
}

#[test]
fn a_start_beyond_a_lower_limit_serves_one() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.set_limits(exclusive(1));
    rig.started(2);
    rig.take();
    assert!(rig.responded(2));
    rig.ended(2);
    rig.quiet(2);
    assert_eq!(rig.take(), ["retire 2: pressure"]);
}

#[test]
fn leaving_instances_count_as_gone() {
    let mut rig = idle(exclusive(3));
    rig.broken(1, millpond_pool_core::Reason::Trap);
    rig.take();
    rig.set_limits(exclusive(2));
    assert_eq!(rig.take(), [""; 0]);
    rig.set_limits(exclusive(1));
    assert_eq!(rig.take(), ["retire 2: pressure"]);
}

#[test]
fn starts_wait_for_stores_beyond_the_limit() {
    let mut rig = idle(exclusive(2));
    rig.set_limits(exclusive(0));
    rig.set_limits(exclusive(1));
    rig.submit();
    assert_eq!(rig.take(), ["retire 1: pressure", "retire 2: pressure"]);
    rig.dropped(1);
    assert_eq!(rig.take(), [""; 0]);
    rig.dropped(2);
    assert_eq!(rig.take(), ["start 3 for 3"]);
}

#[test]
fn lower_max_requests_ends_those_past_it() {
    let mut rig = idle(exclusive(2));
    rig.submit();
    rig.take();
    rig.set_limits(at_most(exclusive(2), 1));
    assert_eq!(rig.take(), ["retire 1: requests"], "2 has work to finish");
    rig.finish(3);
    assert_eq!(rig.take(), ["retire 2: requests"]);
}

#[test]
fn higher_max_requests_reaches_old_ones() {
    let mut rig = Rig::new(at_most(exclusive(1), 2));
    rig.submit_many(3);
    rig.started(1);
    rig.finish(1);
    rig.set_limits(at_most(exclusive(1), 3));
    rig.finish(2);
    assert_eq!(rig.take(), ["start 1 for 1", "assign 2 to 1", "assign 3 to 1"]);
    rig.finish(3);
    assert_eq!(rig.take(), ["retire 1: requests"]);
}

#[test]
fn a_redrawn_quota_uses_the_same_draw() {
    let spread = |most| {
        with(exclusive(1), |limits| {
            limits.max_requests = MaxRequests::exactly(most).shortened_by(0.5);
        })
    };
    let served = |change: bool| {
        let mut rig = Rig::seeded(spread(100), 7);
        rig.submit();
        rig.started(1);
        if change {
            rig.set_limits(spread(10));
            rig.set_limits(spread(100));
        }
        (1..)
            .find(|request| {
                rig.finish(*request);
                let ended = rig.take().contains(&"retire 1: requests".to_owned());
                ended || rig.submit() == 0
            })
            .unwrap()
    };
    assert_eq!(served(false), served(true));
}

#[test]
fn higher_concurrency_adds_seats_at_once() {
    let mut rig = Rig::new(shared(1, 2));
    rig.submit_many(3);
    rig.started(1);
    rig.settled(1);
    rig.settled(1);
    rig.take();
    rig.set_limits(shared(1, 3));
    assert_eq!(rig.take(), ["assign 3 to 1"]);
}

#[test]
fn a_higher_limit_starts_for_the_queue() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit_many(3);
    rig.take();
    rig.set_limits(exclusive(3));
    assert_eq!(rig.take(), ["start 2 for 2", "start 3 for 3"]);
}

#[test]
fn the_standard_policy_follows_new_limits() {
    let idle_for = |timeout| with(exclusive(1), |limits| limits.idle_timeout = timeout);
    let mut rig = idle(idle_for(secs(10))).policy(|| boxed(standard()));
    rig.wake_policy(1);
    rig.at(secs(9));
    rig.set_limits(idle_for(secs(20)));
    rig.at(secs(20) - MS);
    assert_eq!(rig.take(), [""; 0], "the longer time holds");
    rig.set_limits(idle_for(secs(60)));
    rig.at(secs(30));
    rig.set_limits(idle_for(secs(25)));
    assert_eq!(rig.take(), ["retire 1: idle"], "the shorter one is over");
}

#[test]
fn the_standard_policy_keeps_all_four_times() {
    let limits = with(exclusive(1), |limits| {
        (limits.idle_timeout, limits.post_return_timeout) = (secs(1), secs(2));
        (limits.body_stall_timeout, limits.max_age) = (secs(3), secs(100));
    });
    let busy = || {
        let mut rig = Rig::new(limits.clone()).policy(|| boxed(standard()));
        rig.submit();
        rig.started(1);
        rig
    };
    let ends = |mut rig: Rig, at: u64, how: &str| {
        rig.take();
        rig.at(secs(at) - MS);
        assert_eq!(rig.take(), [""; 0]);
        rig.at(secs(at));
        assert_eq!(rig.take(), [how]);
    };
    let mut rig = busy();
    assert!(rig.responded(1));
    ends(rig, 3, "retire 1: timeout");
    let mut rig = busy();
    assert!(rig.responded(1));
    rig.ended(1);
    ends(rig, 2, "retire 1: timeout");
    let mut rig = busy();
    rig.finish(1);
    ends(rig, 1, "retire 1: idle");
    let mut rig = busy();
    for request in 1..400 {
        rig.at(MS * 250 * u32::try_from(request).unwrap());
        rig.finish(request);
        rig.submit();
    }
    rig.finish(400);
    ends(rig, 100, "retire 1: age");
}

#[test]
fn the_limits_in_force_can_be_asked_for() {
    let mut rig = Rig::new(shared(3, 4));
    assert_eq!(*rig.pool.limits(), shared(3, 4));
    rig.set_limits(exclusive(2));
    assert_eq!(*rig.pool.limits(), exclusive(2));
}

#[test]
fn max_running_makes_requests_wait() {
    let mut rig = Rig::new(with(shared(1, 2), |limits| limits.max_running = Some(1)));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.take();
    rig.submit();
    assert_eq!((rig.take(), rig.pool.snapshot().queued), (vec![], 1));
    rig.finish(1);
    assert_eq!(rig.take(), ["assign 2 to 1"]);
}

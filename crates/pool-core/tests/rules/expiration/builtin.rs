//! The built-in policies at work in a pool: what each counts, and from when.

use std::time::Duration;

use crate::common::{MS, NEVER, Rig, exclusive, secs, shared, with};
use millpond_pool_core::expiration::{
    InstanceExpiration, body_stall_timeout, boxed, busy_timeout, idle_timeout, max_age,
    max_requests, post_return_timeout,
};

/// An instance that has served one request and is idle since 0 s.
fn idle(mut rig: Rig) -> Rig {
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.finish(1);
    rig.take();
    rig
}

#[test]
fn the_idle_timeout_ends_idle_instances() {
    let mut rig = idle(Rig::new(exclusive(1)).policy(|| boxed(idle_timeout(secs(10)))));
    assert_eq!(rig.timeout(), Some(secs(10)));
    rig.at(secs(10) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(10));
    assert_eq!(rig.take(), ["retire 1: idle"]);
}

#[test]
fn use_restarts_the_idle_timeout() {
    let mut rig = idle(Rig::new(exclusive(1)).policy(|| boxed(idle_timeout(secs(10)))));
    rig.at(secs(9));
    rig.submit();
    rig.at(secs(15));
    rig.finish(2);
    rig.take();
    rig.at(secs(25) - MS);
    assert_eq!(rig.take(), [""; 0], "neither while busy nor by the old time");
    rig.at(secs(25));
    assert_eq!(rig.take(), ["retire 1: idle"]);
}

#[test]
fn an_unclaimed_instance_idles_out_too() {
    let mut rig = Rig::new(shared(1, 2)).policy(|| boxed(idle_timeout(secs(10))));
    rig.submit();
    rig.cancel(1);
    rig.at(secs(3));
    rig.started(1);
    rig.take();
    rig.at(secs(12));
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(13));
    assert_eq!(rig.take(), ["retire 1: idle"]);
}

#[test]
fn post_return_work_has_its_own_timeout() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(post_return_timeout(secs(3))));
    rig.submit();
    rig.started(1);
    rig.at(secs(10));
    assert!(rig.responded(1));
    rig.at(secs(20));
    rig.ended(1);
    rig.take();
    rig.at(secs(23) - MS);
    assert_eq!(rig.take(), [""; 0], "neither the head nor the body counted");
    rig.at(secs(23));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn timely_post_return_work_is_forgotten() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(post_return_timeout(secs(3))));
    rig.submit();
    rig.started(1);
    assert!(rig.responded(1));
    rig.ended(1);
    rig.at(secs(2));
    rig.quiet(1);
    rig.take();
    rig.at(secs(1000));
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn progress_restarts_the_stall_timeout() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(body_stall_timeout(secs(30))));
    rig.submit();
    rig.started(1);
    rig.at(secs(5));
    assert!(rig.responded(1));
    rig.take();
    for seconds in [34, 63] {
        rig.at(secs(seconds));
        rig.progress(1);
    }
    rig.at(secs(93) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(93));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn of_several_bodies_the_slowest_counts() {
    let mut rig = Rig::new(shared(1, 2)).policy(|| boxed(body_stall_timeout(secs(30))));
    rig.submit_many(2);
    rig.started(1);
    rig.settled(1);
    assert!(rig.responded(1));
    assert!(rig.responded(2));
    rig.at(secs(20));
    rig.progress(2);
    rig.at(secs(29));
    rig.ended(1);
    rig.at(secs(35));
    assert_eq!(rig.take(), ["start 1", "assign 1 to 1", "assign 2 to 1"], "1 has ended");
    rig.at(secs(50));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn busy_timeout_counts_from_newest_request() {
    let mut rig = Rig::new(shared(1, 2)).policy(|| boxed(busy_timeout(secs(10))));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    rig.at(secs(4));
    rig.submit();
    rig.take();
    rig.at(secs(14) - MS);
    assert_eq!(rig.take(), [""; 0]);
    rig.at(secs(14));
    assert_eq!(rig.take(), ["retire 1: timeout"]);
}

#[test]
fn an_old_instance_is_drained() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(max_age(secs(60))));
    rig.submit();
    rig.at(secs(5));
    rig.started(1);
    assert!(rig.responded(1));
    rig.take();
    rig.at(secs(65));
    assert_eq!(rig.take(), [""; 0], "its body may end");
    rig.ended(1);
    rig.quiet(1);
    assert_eq!(rig.take(), ["retire 1: age"]);
}

#[test]
fn max_requests_drains_at_its_count() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(max_requests(2)));
    rig.submit_many(2);
    rig.started(1);
    rig.finish(1);
    rig.finish(2);
    assert_eq!(rig.take(), ["start 1 for 1", "assign 2 to 1", "retire 1: requests"]);
}

#[test]
fn endless_and_zero_timeouts_need_no_clock() {
    let endless = || boxed(idle_timeout(NEVER).or(max_age(NEVER)).or(body_stall_timeout(NEVER)));
    let mut rig = idle(Rig::new(exclusive(1)).policy(endless));
    rig.at(secs(10));
    assert_eq!(rig.timeout(), None);
    rig.jump(secs(10_000_000_000));
    assert_eq!(rig.take(), [""; 0]);

    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(idle_timeout(Duration::ZERO)));
    rig.submit();
    rig.started(1);
    rig.take();
    rig.finish(1);
    assert_eq!(rig.take(), ["retire 1: idle"]);
}

#[test]
fn a_stall_beside_others_drains_first() {
    let limits = with(shared(1, 3), |limits| limits.request_timeout = secs(100));
    let mut rig = Rig::new(limits).policy(|| boxed(body_stall_timeout(secs(30))));
    rig.submit();
    rig.started(1);
    rig.settled(1);
    assert!(rig.responded(1));
    rig.at(secs(20));
    rig.submit();
    rig.settled(1);
    rig.submit();
    rig.settled(1);
    assert!(rig.responded(3));
    rig.take();
    rig.at(secs(30));
    assert_eq!(rig.take(), [""; 0], "its neighbours go on");
    rig.submit();
    assert_eq!(rig.take(), [""; 0], "and it takes no more");
    rig.at(secs(34));
    assert!(rig.responded(2));
    rig.ended(2);
    assert_eq!(rig.take(), [""; 0], "the third request's body moved at 20 s");
    rig.ended(3);
    assert_eq!(rig.take(), ["retire 1: timeout"], "now only the stalled one is left");
}

//! Policies that look at what a guest holds.

use crate::common::{Rig, exclusive, shared, with};
use millpond_pool_core::expiration::{boxed, memory_watermark, resource_growth};

#[test]
fn an_instance_above_the_watermark_drains() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(memory_watermark(100)));
    rig.submit();
    rig.started(1);
    rig.take();
    rig.usage(1, 100, 0);
    rig.usage(1, 101, 0);
    assert_eq!(rig.take(), [""; 0], "its request goes on");
    rig.submit();
    rig.finish(1);
    assert_eq!(rig.take(), ["retire 1: memory"], "and it gets no other");
}

#[test]
fn at_the_watermark_an_instance_goes_on() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(memory_watermark(100)));
    rig.submit_many(2);
    rig.started(1);
    rig.usage(1, 100, 0);
    rig.finish(1);
    assert_eq!(rig.take(), ["start 1 for 1", "assign 2 to 1"]);
}

#[test]
fn leftover_resources_end_an_idle_instance() {
    let mut rig = Rig::new(exclusive(1)).policy(|| boxed(resource_growth(10)));
    rig.submit();
    rig.started(1);
    for (request, held) in [(1, 50), (2, 55), (3, 60)] {
        rig.usage(1, 0, held);
        rig.finish(request);
        rig.submit();
    }
    rig.take();
    rig.usage(1, 0, 61);
    assert_eq!(rig.take(), [""; 0]);
    rig.finish(4);
    assert_eq!(rig.take(), ["retire 1: memory"], "11 more than after the first request");
}

#[test]
fn resources_of_running_requests_are_exempt() {
    let mut rig = Rig::new(shared(1, 2)).policy(|| boxed(resource_growth(10)));
    rig.submit();
    rig.started(1);
    rig.usage(1, 0, 1000);
    rig.usage(1, 0, 5);
    rig.finish(1);
    rig.submit();
    rig.usage(1, 0, 1000);
    rig.usage(1, 0, 15);
    rig.take();
    rig.finish(2);
    assert_eq!(rig.take(), [""; 0]);
}

#[test]
fn what_a_spare_holds_is_no_measure() {
    let limits = with(exclusive(1), |limits| limits.min_idle = 1);
    let mut rig = Rig::new(limits).policy(|| boxed(resource_growth(10)));
    rig.look();
    rig.usage(1, 0, 0);
    rig.started(1);
    rig.submit();
    rig.usage(1, 0, 40);
    rig.take();
    rig.finish(1);
    assert_eq!(rig.take(), [""; 0], "the first request fills the guest's caches");
}

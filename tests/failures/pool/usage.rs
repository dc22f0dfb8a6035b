//! Policies that look at what guests hold, at the pool's load, and at the world outside.

use std::time::Duration;

use millpond::Reason;
use millpond::expiration::{
    Expired, InstanceExpiration as _, Signal, memory_watermark, resource_growth,
};

use crate::setup::{Held, Setup, assert_answer, until_another_starts};

async fn holding_too_much_ends_after_the_request(setup: Setup) {
    let server = setup
        .serve_with(|builder| builder.expiration(|policy| policy.or(memory_watermark(16 << 20))))
        .await;
    assert_answer(&server.get("/alloc?mib=1").await, "allocated 1\n");
    server.until("it is idle", |now| now.instances.idle == 1).await;
    assert_answer(&server.get("/alloc?mib=20").await, "allocated 20\n");
    let now = server.until("it is gone", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Memory), now.retired.total(), now.starts), (1, 1, 1));
}
setups!(holding_too_much_ends_after_the_request: p2_reused p3_shared);

async fn steady_memory_is_not_taken_for_a_leak(setup: Setup) {
    let server = setup
        .serve_with(|builder| builder.expiration(|policy| policy.or(resource_growth(0))))
        .await;
    for _ in 0..50 {
        assert_answer(&server.get("/hello").await, "hello\n");
        server.until("it is idle", |now| now.instances.idle == 1).await;
    }
    assert_eq!(server.pool.snapshot().starts, 1);
}
setups!(steady_memory_is_not_taken_for_a_leak: p2_reused p3_shared);

async fn a_signal_ends_only_idle_instances(setup: Setup) {
    let signal = Signal::new();
    let followed = signal.clone();
    let server = setup
        .serve_with(|builder| {
            builder.limits(|limits| limits.concurrency = limits.concurrency.min(2)).expiration(
                move |policy| policy.or(followed.follow(Expired::Retire(Reason::Swap)).when_idle()),
            )
        })
        .await;
    let held = Held::hold(&server).await;
    let other = Held::hold(&server).await;
    assert_answer(&other.let_go().await, "0");
    signal.raise();
    signal.lower();
    signal.raise();
    if !setup.is_shared() {
        // The second request had an instance of its own.
        let now = server.until("the idle one ends", |now| now.instances.live() == 1).await;
        assert_eq!((now.retired.get(Reason::Swap), now.busy), (1, 1));
    }
    assert_answer(&held.let_go().await, "0");
    let now = server.until("the other ends", |now| now.instances.live() == 0).await;
    assert_eq!(now.retired.get(Reason::Swap), now.starts);

    signal.lower();
    assert_answer(&server.get("/hello").await, "hello\n");
    let now = server.until("it stays", |now| now.instances.idle == 1).await;
    assert_eq!(now.retired.get(Reason::Swap) + 1, now.starts);
}
setups!(a_signal_ends_only_idle_instances: p2_reused p3_shared);

async fn timeouts_can_change_while_running(setup: Setup) {
    let server = setup
        .serve_with(|b| b.limits(|limits| limits.idle_timeout = Duration::from_secs(3600)))
        .await;
    assert_answer(&server.get("/hello").await, "hello\n");
    server.until("it is idle", |now| now.instances.idle == 1).await;
    let mut limits = server.pool.limits();
    limits.idle_timeout = Duration::ZERO;
    server.pool.set_limits(limits);
    let now = server.until("it idles out", |now| now.instances.live() == 0).await;
    assert_eq!(now.retired.get(Reason::Idle), 1);
}
setups!(timeouts_can_change_while_running: p2_reused p3_shared);

async fn a_never_quiet_instance_reports_its_usage(setup: Setup) {
    let server = setup
        .serve_with(|builder| builder.expiration(|policy| policy.or(memory_watermark(16 << 20))))
        .await;
    let held = Held::hold(&server).await;
    assert_answer(&server.get("/alloc?mib=20").await, "allocated 20\n");
    until_another_starts(&server).await;
    assert_eq!(server.pool.snapshot().busy, 1, "what runs goes on");
    assert_answer(&held.let_go().await, "0");
    let now = server.until("it is gone", |now| now.retired.total() == 1).await;
    assert_eq!(now.retired.get(Reason::Memory), 1);
}
setups!(a_never_quiet_instance_reports_its_usage: p3_shared);

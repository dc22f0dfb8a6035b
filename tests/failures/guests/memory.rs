use millpond::{Output, Reason, WasiHost};
use millpond_tests::Server;

use crate::setup::{Held, Setup, all_idle, assert_answer, assert_failure};

/// Guests may have 32 MiB.
async fn serve(setup: Setup) -> Server {
    let host = WasiHost::new().output(Output::None).max_memory(32 << 20);
    let limit = |limits: &mut millpond::Limits| {
        limits.max_instances = 4;
        limits.concurrency = limits.concurrency.min(2);
    };
    setup.serve_host(host, |builder| builder.limits(limit)).await
}

async fn a_guest_beyond_its_memory_traps_alone(setup: Setup) {
    let server = serve(setup).await;
    // Both seats, where there are two: the next request gets another instance.
    let first = Held::hold(&server).await;
    let second = Held::hold(&server).await;
    let before = server.pool.snapshot().starts;
    assert_eq!(before, if setup.is_shared() { 1 } else { 2 });
    let reply = server.get("/alloc?mib=64").await;
    assert_failure(&reply, 500, "proxy_internal_error", "guest trapped");
    let now = server.until("it is gone", |now| now.retired.total() == 1).await;
    assert_eq!((now.retired.get(Reason::Trap), now.starts), (1, before + 1));
    assert_answer(&first.let_go().await, "0");
    assert_answer(&second.let_go().await, "0");
}
setups!(a_guest_beyond_its_memory_traps_alone);

async fn kept_memory_counts_until_instance_ends(setup: Setup) {
    let server = serve(setup).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(server.get("/alloc?mib=8").await.status.as_u16());
        all_idle(&server).await;
    }
    if setup.is_reused() {
        // The fourth has no room beside three others, and the guest's own.
        assert_eq!(statuses, [200, 200, 200, 500, 200, 200, 200, 500]);
    } else {
        assert_eq!(statuses, [200; 8]);
    }
}
setups!(kept_memory_counts_until_instance_ends);

async fn growing_guests_do_not_take_the_host_down(setup: Setup) {
    let server = serve(setup).await;
    for round in 1..=25 {
        let asks = (0..4).map(|_| server.get("/alloc?mib=4000"));
        for reply in futures::future::join_all(asks).await {
            assert_failure(&reply, 500, "proxy_internal_error", "guest trapped");
        }
        let now = server.until("they are counted", |now| now.failed == round * 4).await;
        assert_eq!(now.submitted, round * 4);
    }
    assert_answer(&server.get("/hello").await, "hello\n");
    let now = server.until("they are gone", |now| now.instances.retiring == 0).await;
    assert!(now.instances.live() <= 1);
}
setups!(growing_guests_do_not_take_the_host_down);

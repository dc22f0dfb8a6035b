//! Limits that change while the pool runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use millpond::Limits;
use millpond_tests::Server;

use crate::setup::{Held, Sent, Setup, assert_answer, drain};

fn change(server: &Server, change: impl FnOnce(&mut Limits)) {
    let mut limits = server.pool.limits();
    change(&mut limits);
    server.pool.set_limits(limits);
}

async fn max_instances_can_be_raised_and_lowered(setup: Setup) {
    let server = setup.serve(|limits| limits.concurrency = limits.concurrency.min(2)).await;
    change(&server, |limits| limits.max_instances = 1);
    let seats = if setup.is_shared() { 2 } else { 1 };
    let mut first = Vec::new();
    for _ in 0..seats {
        first.push(Held::hold(&server).await);
    }
    let second = Held::send(&server);
    let now = server.until("it waits", |now| now.queued == 1).await;
    assert_eq!(now.instances.live(), 1);
    change(&server, |limits| limits.max_instances = 2);
    server.until("it waits no more", |now| (now.queued, now.busy) == (0, seats + 1)).await;

    change(&server, |limits| limits.max_instances = 1);
    let now = server.pool.snapshot();
    assert_eq!((now.instances.live(), now.busy), (2, seats + 1), "nothing is taken back");
    // The rest of the seats, so that the next has to wait.
    if setup.is_shared() {
        first.push(Held::hold(&server).await);
    }
    let third = Sent::get(&server, "/hello");
    server.until("it waits", |now| now.queued == 1).await;
    for held in first.into_iter().chain([second]) {
        assert_answer(&held.let_go().await, "0");
    }
    assert_answer(&third.reply().await, "hello\n");
    assert_eq!(server.pool.snapshot().starts, if setup.is_reused() { 2 } else { 3 });
    drain(&server).await;
}
setups!(max_instances_can_be_raised_and_lowered);

async fn no_start_exceeds_a_lowered_limit(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let first = Held::hold(&server).await;
    let second = Held::hold(&server).await;
    change(&server, |limits| limits.max_instances = 1);
    let third = Sent::get(&server, "/hello");
    server.until("it waits", |now| now.queued == 1).await;
    assert_answer(&first.let_go().await, "0");
    let now = server.until("the first is gone", |now| now.instances.live() == 1).await;
    assert_eq!((now.starts, now.queued, now.busy), (2, 1, 1), "one is all there may be");
    assert_answer(&second.let_go().await, "0");
    assert_answer(&third.reply().await, "hello\n");
}
setups!(no_start_exceeds_a_lowered_limit: p2_fresh p3_exclusive);

async fn concurrency_changes_apply_while_running(setup: Setup) {
    let server = setup
        .serve(|limits| {
            limits.max_instances = 1;
            limits.concurrency = 2;
        })
        .await;
    let first = Held::hold(&server).await;
    let second = Held::hold(&server).await;
    let third = Held::send(&server);
    server.until("it waits", |now| now.queued == 1).await;
    change(&server, |limits| limits.concurrency = 3);
    server.until("it waits no more", |now| (now.queued, now.busy) == (0, 3)).await;

    change(&server, |limits| limits.concurrency = 2);
    let fourth = Held::send(&server);
    server.until("it waits", |now| (now.queued, now.busy) == (1, 3)).await;
    assert_answer(&first.let_go().await, "0");
    let now = server.until("the first has ended", |now| now.busy + now.streaming == 2).await;
    assert_eq!(now.queued, 1, "two are all there may be");
    assert_answer(&second.let_go().await, "0");
    server.until("it waits no more", |now| (now.queued, now.busy) == (0, 2)).await;
    for held in [third, fourth] {
        assert_answer(&held.let_go().await, "0");
    }
    assert_eq!(drain(&server).await.starts, 1);
}
setups!(concurrency_changes_apply_while_running: p3_shared);

async fn a_shorter_timeout_counts_for_the_next(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    change(&server, |limits| limits.request_timeout = Duration::from_millis(300));
    assert_eq!(server.get("/never").await.status, 504);
    change(&server, |limits| limits.request_timeout = Duration::from_secs(30));
    assert_answer(&server.get("/sleep?ms=600").await, "slept\n");
}
setups!(a_shorter_timeout_counts_for_the_next);

async fn no_request_is_lost_while_limits_change(setup: Setup) {
    let server = setup.serve(|limits| limits.queue_timeout = Duration::from_secs(30)).await;
    let done = AtomicBool::new(false);
    let requests = async {
        join_all((0..8).map(|_| async {
            for _ in 0..25 {
                assert_answer(&server.get("/sleep?ms=5").await, "slept\n");
            }
        }))
        .await;
        done.store(true, Ordering::SeqCst);
    };
    let changes = async {
        let concurrent = if setup.is_shared() { 16 } else { 1 };
        while !done.load(Ordering::SeqCst) {
            for (instances, concurrency) in [(1, 1), (8, 1), (1, concurrent), (4, concurrent)] {
                change(&server, |limits| {
                    limits.max_instances = instances;
                    limits.concurrency = concurrency;
                });
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::join!(requests, changes);
    let now = drain(&server).await;
    assert_eq!((now.submitted, now.responded), (200, 200));
}
setups!(no_request_is_lost_while_limits_change);

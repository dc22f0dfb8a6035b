//! Instances made before they are requested.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use millpond::{Builder, Limits, Reason, wasmtime};
use millpond_tests::{PATIENCE, Server, until};

use crate::setup::{Held, Recorder, Seen, Setup, assert_answer, drain};

fn spares(count: usize) -> impl FnOnce(&mut Limits) + Send + 'static {
    move |limits| {
        limits.min_idle = count;
        limits.concurrency = limits.concurrency.min(2);
    }
}

async fn warm(server: &Server<Recorder>) {
    let warmed = tokio::time::timeout(PATIENCE, server.pool.warmed());
    warmed.await.expect("the spares are made");
}

async fn a_used_spare_is_replaced(setup: Setup) {
    let (host, record) = Recorder::new();
    let server = setup.serve_host(host, |builder: Builder<_>| builder.limits(spares(2))).await;
    warm(&server).await;
    let now = server.pool.snapshot();
    assert_eq!((now.spares, now.instances.idle, now.starts), (2, 2, 2));
    assert_eq!(record.requests(), [0; 0]);

    let held = Held::hold(&server).await;
    // It is counted as busy before its guest has been woken for it.
    let on = until("a guest is given it", || {
        record.all().into_iter().find_map(|seen| match seen {
            Seen::Request { instance, .. } => Some(instance),
            _ => None,
        })
    });
    let on = on.await;
    assert!(on <= 2, "a spare serves it, not instance {on}");
    let now = server.until("another is made", |now| now.spares == 2).await;
    assert_eq!((now.starts, now.instances.live()), (3, 3));
    assert_answer(&held.let_go().await, "0");
    assert_eq!(server.pool.snapshot().start_time.count(), 3);
    drain(&server).await;
}
setups!(a_used_spare_is_replaced);

async fn failed_spares_are_retried(setup: Setup) {
    let (mut host, record) = Recorder::new();
    let failures = Arc::new(AtomicU64::new(3));
    let left = Arc::clone(&failures);
    host.at_data =
        Box::new(move |_| match left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(wasmtime::format_err!("not yet")),
            Err(_) => Ok(()),
        });
    let server = setup.serve_host(host, |builder: Builder<_>| builder.limits(spares(1))).await;
    assert!(!server.pool.is_warmed());
    warm(&server).await;
    let now = server.pool.snapshot();
    assert_eq!((now.failed_starts, now.spares, now.starts), (3, 1, 4));
    assert_eq!((now.retired.get(Reason::Host), failures.load(SeqCst)), (3, 0));
    assert_answer(&server.get("/hello").await, "hello\n");
    assert_eq!((record.requests(), server.pool.snapshot().refused), (vec![1], 0));
}
setups!(failed_spares_are_retried);

async fn spares_follow_changed_limits(setup: Setup) {
    let server = setup.serve_with(|builder| builder.limits(spares(0))).await;
    let mut limits = server.pool.limits();
    limits.min_idle = 3;
    server.pool.set_limits(limits.clone());
    server.until("they are made", |now| now.spares == 3).await;
    limits.min_idle = 1;
    server.pool.set_limits(limits.clone());
    let now = server.until("two are ended", |now| now.instances.live() == 1).await;
    assert_eq!((now.spares, now.retired.get(Reason::Idle)), (1, 2));
    limits.max_instances = 2;
    limits.min_idle = 100;
    server.pool.set_limits(limits);
    let now = server.until("no more than fit", |now| now.spares == 2).await;
    assert_eq!(now.instances.live(), 2);
    assert_answer(&server.get("/hello").await, "hello\n");
    drain(&server).await;
}
setups!(spares_follow_changed_limits);

async fn dropping_a_pool_drops_its_spares(setup: Setup) {
    let (host, record) = Recorder::new();
    let server = setup.serve_host(host, |builder: Builder<_>| builder.limits(spares(2))).await;
    warm(&server).await;
    drop(server);
    let retired = record.retired(2).await;
    assert!(retired.iter().all(|(_, reason, _)| *reason == Reason::Drain), "{retired:?}");
}
setups!(dropping_a_pool_drops_its_spares);

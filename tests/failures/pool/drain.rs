use std::time::Instant;

use millpond::Reason;
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::{PATIENCE, whole};
use tokio::time::timeout;

use crate::setup::{
    Held, SECOND, Sent, Setup, assert_answer, assert_failure, drain, hold_all, one_instance,
};

async fn a_drain_finishes_what_was_submitted(setup: Setup) {
    let server = setup.serve(one_instance(setup)).await;
    let held = hold_all(setup, &server).await;
    let waiting = Sent::get(&server, "/hello");
    server.until("it waits", |now| now.queued == 1).await;
    let mut drained = server.pool.drain();
    assert!(futures::poll!(&mut drained).is_pending());

    let reply = server.connect(Http1).await.get("/hello").await;
    assert_failure(&reply, 503, "destination_unavailable", "draining");
    assert_eq!(reply.headers["connection"], "close");
    let reply = server.connect(H2c).await.get("/hello").await;
    assert_failure(&reply, 503, "destination_unavailable", "draining");
    assert!(!reply.headers.contains_key("connection"), "HTTP/2 knows no such header");

    assert!(futures::poll!(&mut drained).is_pending());
    for held in held {
        assert_answer(&held.let_go().await, "0");
    }
    assert_answer(&waiting.reply().await, "hello\n");
    timeout(PATIENCE, drained).await.expect("the drain ends");
    let now = drain(&server).await;
    assert_eq!((now.refused, now.failed, now.cancelled), (0, 0, 0));
}
setups!(a_drain_finishes_what_was_submitted);

async fn a_drain_waits_for_open_bodies(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let drip = Sent::get(&server, "/drip?n=20&ms=20");
    server.until("it streams", |now| now.streaming == 1).await;
    drain(&server).await;
    let drip = drip.reply().await;
    assert_eq!((drip.text().lines().count(), drip.broken), (20, false));
}
setups!(a_drain_waits_for_open_bodies);

async fn a_drain_ends_idle_instances(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    assert_answer(&server.get("/hello").await, "hello\n");
    server.until("it is idle", |now| now.instances.idle == 1).await;
    let now = drain(&server).await;
    assert_eq!((now.retired.get(Reason::Drain), now.retired.total()), (1, 1));
}
setups!(a_drain_ends_idle_instances: p2_reused p3_shared);

async fn a_drain_lets_time_out_what_hangs(setup: Setup) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND).await;
    let never = Sent::get(&server, "/never");
    server.until("it is on its guest", |now| now.busy == 1).await;
    let now = drain(&server).await;
    assert_eq!((now.failed, now.retired.get(Reason::Timeout)), (1, 1));
    assert_eq!(never.reply().await.status, 504);
}
setups!(a_drain_lets_time_out_what_hangs);

async fn stop_answers_callers_of_hanging_guests(setup: Setup) {
    let server = setup.serve(|limits| limits.max_instances = 2).await;
    let begin = Instant::now();
    let hanging = Sent::get(&server, "/never");
    server.until("it is on its guest", |now| now.busy == 1).await;
    let spinning = Sent::get(&server, "/spin");
    server.until("both are on a guest", |now| now.busy == 2).await;
    let waiting = match setup {
        // The spinning one is on the same guest, and there is room for another.
        Setup::P3Shared => None,
        _ => Some(Sent::get(&server, "/hello")),
    };
    let queued = usize::from(waiting.is_some());
    server.until("it waits", |now| now.queued == queued).await;
    let drained = server.pool.drain();
    server.pool.stop();
    for sent in [Some(hanging), Some(spinning), waiting].into_iter().flatten() {
        let reply = sent.reply().await;
        assert_failure(&reply, 503, "destination_unavailable", "draining");
    }
    timeout(PATIENCE, drained).await.expect("the drain ends");
    assert!(begin.elapsed() < SECOND * 10, "long before any timeout");
    let now = drain(&server).await;
    assert_eq!((now.failed, now.refused), (2, queued as u64));
    assert_eq!(now.retired.get(Reason::Drain), now.starts);
}
setups!(stop_answers_callers_of_hanging_guests);

async fn stop_breaks_open_bodies(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let (mut one, mut two) = (server.connect(Http1).await, server.connect(H2c).await);
    // Both heads are with their clients: a connection that breaks before that has none to show.
    let first = one.head_of("/drip?n=1000000&ms=10").await;
    let second = two.head_of("/stall-mid-body").await;
    assert_eq!(server.pool.snapshot().streaming, 2);
    server.pool.stop();
    for response in [first, second] {
        let reply = whole(response).await;
        assert_eq!((reply.status.as_u16(), reply.broken), (200, true));
    }
    drain(&server).await;
}
setups!(stop_breaks_open_bodies);

async fn a_drain_does_not_wait_for_lost_clients(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let left = Sent::get(&server, "/sleep?ms=500");
    server.until("it is on its guest", |now| now.busy == 1).await;
    let drained = server.pool.drain();
    left.leave();
    timeout(SECOND * 10, drained).await.expect("the drain ends");
    let now = drain(&server).await;
    assert_eq!((now.cancelled, now.failed), (1, 0));
}
setups!(a_drain_does_not_wait_for_lost_clients);

async fn all_waiters_learn_of_a_drains_end(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let held = Held::hold(&server).await;
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(server.pool.drain())).collect();
    server.until("it drains", |now| now.draining).await;
    assert_answer(&held.let_go().await, "0");
    for waiting in waiting {
        timeout(PATIENCE, waiting).await.expect("the drain ends").expect("no panic");
    }
}
setups!(all_waiters_learn_of_a_drains_end: p2_reused p3_shared);

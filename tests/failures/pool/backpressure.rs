//! A guest that asks for no more requests for now. Only those of 0.3 can.

use millpond::Reason;

use crate::setup::{Held, Sent, Setup, assert_answer};

async fn backpressure_of_a_guest_is_respected(setup: Setup) {
    let server = setup.serve(|limits| limits.max_instances = 1).await;
    let held = Held::send_to(&server, "/backpressure");
    server.until("it is on the guest", |now| now.busy == 1).await;
    let first = Sent::get(&server, "/hello");
    let now = server.until("the next waits", |now| now.queued == 1).await;
    assert_eq!((now.busy, now.instances.live()), (1, 1), "though there are 15 seats");
    assert_answer(&held.let_go().await, "0");
    assert_answer(&first.reply().await, "hello\n");
    let now = server.pool.snapshot();
    assert_eq!((now.starts, now.retired.total()), (1, 0), "the same guest serves on");
}
setups!(backpressure_of_a_guest_is_respected: p3_shared);

async fn others_serve_meanwhile(setup: Setup) {
    let server = setup.serve(|limits| limits.max_instances = 2).await;
    let held = Held::send_to(&server, "/backpressure");
    server.until("it is on the guest", |now| now.busy == 1).await;
    for _ in 0..3 {
        assert_answer(&server.get("/hello").await, "hello\n");
    }
    assert_eq!(server.pool.snapshot().starts, 2);
    assert_answer(&held.let_go().await, "0");
}
setups!(others_serve_meanwhile: p3_shared);

async fn an_idle_guest_that_left_it_set_is_ended(setup: Setup) {
    let server = setup.serve(|limits| limits.max_instances = 1).await;
    for round in 1..=3 {
        assert_answer(&server.get("/backpressure?leave=1").await, "left\n");
        let now = server.until("it is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.retired.get(Reason::Host), now.retired.total()), (round, round));
    }
    assert_answer(&server.get("/hello").await, "hello\n");
}
setups!(an_idle_guest_that_left_it_set_is_ended: p3_shared);

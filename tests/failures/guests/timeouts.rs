use std::time::Instant;

use http_body_util::BodyExt as _;
use millpond::{Limits, Reason};
use millpond_tests::Protocol;

use crate::setup::{SECOND, Sent, Setup, assert_answer, assert_failure};

/// 504 not before the time and soon after, and the guest is gone: at once when driven exclusively,
/// by twice the time when shared.
async fn is_timed_out(setup: Setup, path: &str) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND).await;
    let begin = Instant::now();
    let reply = server.get(path).await;
    let took = begin.elapsed();
    assert_failure(&reply, 504, "http_response_timeout", "request timeout");
    assert!(took >= SECOND, "the guest has its time: {took:?}");
    assert!(took < SECOND * 3, "and not much more: {took:?}");

    let now = server.until("the guest is gone", |now| now.instances.live() == 0).await;
    let gone = begin.elapsed();
    let limit = took + if setup.is_shared() { SECOND * 2 } else { SECOND };
    assert!(gone < limit, "answered after {took:?}, gone after {gone:?}");
    assert_eq!(now.retired.get(Reason::Timeout), 1);
    assert_eq!((now.submitted, now.failed, now.abandoned), (1, 1, 0));

    assert_answer(&server.get("/hello").await, "hello\n");
}

async fn a_guest_that_sleeps_is_timed_out(setup: Setup) {
    is_timed_out(setup, "/sleep?ms=600000").await;
}
setups!(a_guest_that_sleeps_is_timed_out);

async fn a_guest_that_never_answers_is_timed_out(setup: Setup) {
    is_timed_out(setup, "/never").await;
}
setups!(a_guest_that_never_answers_is_timed_out);

async fn an_endless_computation_is_timed_out(setup: Setup) {
    is_timed_out(setup, "/spin").await;
}
setups!(an_endless_computation_is_timed_out);

async fn a_later_neighbour_gets_its_answer(setup: Setup) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND * 2).await;
    let never = Sent::get(&server, "/never");
    server.until("it is on its guest", |now| now.busy == 1).await;
    // The guest tells the time: it is at least a second later.
    assert_answer(&server.get("/sleep?ms=1000").await, "slept\n");
    let neighbour = Sent::get(&server, "/sleep?ms=1500");
    let now = server.until("both are on a guest", |now| now.busy == 2).await;
    assert_eq!((now.instances.live(), now.starts), (1, 1), "on the same");

    assert_failure(&never.reply().await, 504, "http_response_timeout", "request timeout");
    assert_eq!(server.pool.snapshot().busy, 1, "the neighbour still waits");
    assert_answer(&neighbour.reply().await, "slept\n");
    let now = server.until("the guest is gone", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Timeout), now.retired.total()), (1, 1));
}
setups!(a_later_neighbour_gets_its_answer: p3_shared);

async fn a_timeout_closes_the_instance(setup: Setup) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND * 2).await;
    assert_answer(&server.get("/counter").await, "1\n");
    let never = Sent::get(&server, "/never");
    server.until("it is on its guest", |now| now.busy == 1).await;
    assert_answer(&server.get("/counter").await, "2\n");
    // An open body keeps the instance from ending at once.
    let mut client = server.connect(Protocol::Http1).await;
    let mut drip = client.head_of("/drip?n=1000000&ms=10").await;
    assert_eq!(server.pool.snapshot().starts, 1, "all on the same instance");

    assert_eq!(never.reply().await.status, 504);
    assert_eq!(server.pool.snapshot().streaming, 1, "the instance still streams");
    assert_answer(&server.get("/counter").await, "1\n");
    assert_answer(&server.get("/counter").await, "2\n");
    let now = server.pool.snapshot();
    assert_eq!((now.starts, now.instances.live()), (2, 2), "on another, beside the closing one");
    assert!(drip.frame().await.is_some_and(|frame| frame.is_ok()));
}
setups!(a_timeout_closes_the_instance: p3_shared);

async fn timed_out_guests_end_by_twice_the_time(setup: Setup) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND).await;
    let drip = Sent::get(&server, "/drip?n=1000000&ms=10");
    server.until("it streams", |now| now.streaming == 1).await;
    let begin = Instant::now();
    assert_eq!(server.get("/never").await.status, 504);
    let now = server.pool.snapshot();
    assert_eq!((now.starts, now.streaming, now.abandoned), (1, 1, 1));

    server.until("the guest is gone", |now| now.instances.live() == 0).await;
    let gone = begin.elapsed();
    assert!(gone >= SECOND * 2 && gone < SECOND * 4, "{gone:?}");
    let drip = drip.reply().await;
    assert_eq!((drip.status.as_u16(), drip.broken), (200, true), "cut, and not silently");
    let now = server.pool.snapshot();
    assert_eq!((now.retired.get(Reason::Timeout), now.streaming, now.abandoned), (1, 0, 0));
}
setups!(timed_out_guests_end_by_twice_the_time: p3_shared);

async fn others_are_served_during_endless_compute(setup: Setup) {
    let server = setup
        .serve(|limits| {
            limits.request_timeout = SECOND * 5;
            limits.settle_time = Limits::default().settle_time;
        })
        .await;
    let begin = Instant::now();
    let spin = Sent::get(&server, "/spin");
    server.until("it is on its guest", |now| now.busy == 1).await;
    for _ in 0..10 {
        assert_answer(&server.get("/hello").await, "hello\n");
    }
    let took = begin.elapsed();
    assert!(took < SECOND * 5, "before the time of the one that computes is over: {took:?}");
    assert_eq!(server.pool.snapshot().busy, 1);
    assert_eq!(spin.reply().await.status, 504);
    server
        .until("only the others' is left", |now| {
            now.retired.get(Reason::Timeout) == 1
                && now.instances.busy + now.instances.retiring == 0
        })
        .await;
}
setups!(others_are_served_during_endless_compute);

async fn work_after_the_answer_has_its_own_time(setup: Setup) {
    let server = setup
        .serve_with(|builder| builder.limits(|limits| limits.post_return_timeout = SECOND))
        .await;
    let begin = Instant::now();
    assert_answer(&server.get("/post-return?ms=600000").await, "done\n");
    assert!(begin.elapsed() < SECOND, "the caller does not wait for it");
    server.until("the guest is gone", |now| now.instances.live() == 0).await;
    let gone = begin.elapsed();
    assert!(gone >= SECOND && gone < SECOND * 3, "{gone:?}");
    let now = server.pool.snapshot();
    assert_eq!((now.responded, now.retired.get(Reason::Timeout)), (1, 1));
}
setups!(work_after_the_answer_has_its_own_time);

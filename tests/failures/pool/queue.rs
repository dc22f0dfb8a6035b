use std::time::{Duration, Instant};

use futures::future::join_all;
use millpond::Reason;
use millpond_tests::Protocol::{H2c, Http1};

use crate::setup::{
    Recorder, SECOND, Sent, Setup, assert_answer, assert_failure, hold_all, one_instance,
};

async fn what_has_no_place_is_refused_at_once(setup: Setup) {
    let server = setup
        .serve(move |limits| {
            // Two seats, two places.
            limits.max_instances = if setup.is_shared() { 1 } else { 2 };
            limits.concurrency = if setup.is_shared() { 2 } else { 1 };
            limits.max_queue = 2;
        })
        .await;
    let begin = Instant::now();
    let replies = join_all((0..10).map(|_| async {
        let reply = server.get("/sleep?ms=2000").await;
        (reply, begin.elapsed())
    }));
    let replies = replies.await;
    let (served, refused): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|(reply, _)| reply.status == 200);
    assert_eq!((served.len(), refused.len()), (4, 6));
    for (reply, took) in refused {
        assert_failure(&reply, 503, "connection_limit_reached", "overloaded");
        assert_eq!(reply.headers["retry-after"], "1");
        assert!(took < SECOND, "refused while all seats are taken: {took:?}");
    }
    let now = server.pool.snapshot();
    assert_eq!((now.submitted, now.responded), (4, 4), "the others were never submitted");
    assert_eq!(now.overloaded, 6, "and counted");
}
setups!(what_has_no_place_is_refused_at_once);

async fn a_request_queued_too_long_never_runs(setup: Setup) {
    let (recorder, record) = Recorder::new();
    let server = setup
        .serve_host(recorder, |builder| {
            let builder = builder.limits(one_instance(setup));
            builder.limits(|limits| limits.queue_timeout = Duration::from_millis(500))
        })
        .await;
    let held = hold_all(setup, &server).await;
    let seats = held.len();
    for protocol in [Http1, H2c] {
        let begin = Instant::now();
        let reply = server.connect(protocol).await.get("/hello").await;
        let took = begin.elapsed();
        assert_failure(&reply, 503, "connection_timeout", "queue timeout");
        assert_eq!(reply.headers["retry-after"], "1");
        assert!(took >= Duration::from_millis(500) && took < SECOND * 2, "{took:?}");
    }
    for held in held {
        assert_answer(&held.let_go().await, "0");
    }
    assert_answer(&server.get("/hello").await, "hello\n");
    assert_eq!(record.requests().len(), seats + 1, "no guest saw those that were refused");
    let now = server.pool.snapshot();
    assert_eq!((now.refused, now.failed), (2, 0));
    assert_eq!(now.retired.get(Reason::Timeout), 0);
}
setups!(a_request_queued_too_long_never_runs);

async fn the_time_in_the_queue_is_not_the_guests(setup: Setup) {
    let server = setup
        .serve_with(|builder| {
            let builder = builder.limits(one_instance(setup));
            builder.limits(|limits| limits.request_timeout = SECOND)
        })
        .await;
    // They run one after another, or by twos; the last waits for longer than the guest may take.
    let sent: Vec<_> = (0..6).map(|_| Sent::get(&server, "/sleep?ms=600")).collect();
    for sent in sent {
        assert_answer(&sent.reply().await, "slept\n");
    }
    assert!(server.pool.snapshot().instances.live() <= 1);
}
setups!(the_time_in_the_queue_is_not_the_guests);

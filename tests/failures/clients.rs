use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use millpond::Reason;
use millpond_tests::Protocol::{self, H2c, Http1};
use millpond_tests::empty;
use tokio::io::AsyncWriteExt as _;

use crate::setup::{
    Held, Recorder, SECOND, Sent, Setup, assert_answer, assert_failure, hold_all, one_instance,
};

async fn leaving_the_queue_reaches_no_guest(setup: Setup) {
    let (recorder, record) = Recorder::new();
    let server = setup.serve_host(recorder, |builder| builder.limits(one_instance(setup))).await;
    let held = hold_all(setup, &server).await;
    let seats = held.len() as u64;
    for (protocol, cancelled) in [(Http1, 1), (H2c, 2)] {
        let left = Sent::get_over(&server, protocol, "/counter");
        server.until("it waits", |now| now.queued == 1).await;
        left.leave();
        let gone = |now: &millpond::Snapshot| (now.queued, now.cancelled) == (0, cancelled);
        server.until("it has left the queue", gone).await;
    }
    for held in held {
        assert_answer(&held.let_go().await, "0");
    }
    assert_answer(&server.get("/counter").await, "1\n");
    // Two left; theirs are the ids between.
    let expected: Vec<u64> = (1..=seats).chain([seats + 3]).collect();
    assert_eq!(record.requests(), expected);
}
setups!(leaving_the_queue_reaches_no_guest);

/// The guest is stopped and gone, and the next request is served.
async fn ends_its_guest(setup: Setup, path: &str) {
    let server = setup.serve(|limits| limits.max_instances = 1).await;
    for (protocol, cancelled) in [(Http1, 1), (H2c, 2)] {
        let begin = Instant::now();
        let left = Sent::get_over(&server, protocol, path);
        server.until("it is on its guest", |now| now.busy == 1).await;
        left.leave();
        let now = server.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert!(begin.elapsed() < SECOND * 10, "long before any timeout");
        assert_eq!((now.cancelled, now.failed, now.busy), (cancelled, 0, 0));
        assert_eq!(now.retired.get(Reason::Cancelled), cancelled);
        assert_eq!(now.retired.total(), cancelled);
    }
    assert_answer(&server.get("/counter").await, "1\n");
}

async fn leaving_ends_an_exclusive_guest(setup: Setup) {
    ends_its_guest(setup, "/never").await;
}
setups!(leaving_ends_an_exclusive_guest: p2_fresh p2_reused p3_exclusive);

async fn leaving_ends_a_computing_guest(setup: Setup) {
    ends_its_guest(setup, "/spin").await;
}
setups!(leaving_ends_a_computing_guest: p2_fresh p2_reused p3_exclusive);

async fn a_half_closed_connection_counts_as_gone(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.expect("it listens");
    stream.write_all(b"GET /never HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it reads");
    server.until("it is on its guest", |now| now.busy == 1).await;
    stream.shutdown().await.expect("half closed");
    let now = server.until("the guest is gone", |now| now.instances.live() == 0).await;
    assert_eq!((now.cancelled, now.retired.get(Reason::Cancelled)), (1, 1));
}
setups!(a_half_closed_connection_counts_as_gone: p2_fresh p2_reused p3_exclusive);

async fn leaving_an_upload_ends_the_guest(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.expect("it listens");
    let request = b"POST /drain HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n0123456789";
    stream.write_all(request).await.expect("it reads");
    server.until("it is on its guest", |now| now.busy == 1).await;
    drop(stream);
    let now = server.until("the guest is gone", |now| now.instances.live() == 0).await;
    assert_eq!(now.submitted, 1);
    assert_answer(&server.get("/counter").await, "1\n");
}
setups!(leaving_an_upload_ends_the_guest: p2_fresh p2_reused p3_exclusive);

async fn leaving_a_shared_guest_harms_no_others(setup: Setup) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND * 3).await;
    assert_answer(&server.get("/counter").await, "1\n");
    let begin = Instant::now();
    let left = Sent::get(&server, "/never");
    server.until("it is on its guest", |now| now.busy == 1).await;
    let held = Held::hold(&server).await;
    left.leave();
    let now = server.until("it was noticed", |now| now.cancelled == 1).await;
    assert_eq!((now.abandoned, now.busy, now.starts), (1, 1, 1));
    // Until its time is over, the guest may still end well: the instance takes requests.
    assert_answer(&server.get("/counter").await, "2\n");
    assert_answer(&held.let_go().await, "0");

    let now = server.until("it was given up", |now| now.instances.live() == 0).await;
    let gone = begin.elapsed();
    assert!(gone >= SECOND * 3 && gone < SECOND * 8, "within twice its time: {gone:?}");
    assert_eq!((now.abandoned, now.failed, now.responded), (0, 0, 3));
    assert_eq!((now.retired.get(Reason::Timeout), now.retired.total()), (1, 1));
}
setups!(leaving_a_shared_guest_harms_no_others: p3_shared);

async fn abandoning_in_time_keeps_the_guest(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    assert_answer(&server.get("/counter").await, "1\n");
    let left = Sent::get(&server, "/sleep?ms=300");
    server.until("it is on its guest", |now| now.busy == 1).await;
    left.leave();
    server.until("it was noticed", |now| now.abandoned == 1).await;
    let now = server.until("it has ended", |now| now.instances.idle == 1).await;
    assert_eq!((now.abandoned, now.cancelled, now.retired.total()), (0, 1, 0));
    assert_answer(&server.get("/counter").await, "2\n");
}
setups!(abandoning_in_time_keeps_the_guest: p3_shared);

async fn overdue_abandoned_request_closes_guest(setup: Setup) {
    let server = setup.serve(|limits| limits.request_timeout = SECOND).await;
    assert_answer(&server.get("/counter").await, "1\n");
    let left = Sent::get(&server, "/never");
    server.until("it is on its guest", |now| now.busy == 1).await;
    left.leave();
    server.until("it was noticed", |now| now.abandoned == 1).await;
    // The guest tells the time.
    let late = server.get("/sleep?ms=1200").await;
    assert_failure(&late, 504, "http_response_timeout", "request timeout");
    assert_answer(&server.get("/counter").await, "1\n");
}
setups!(overdue_abandoned_request_closes_guest: p3_shared);

async fn leaving_a_body_ends_an_exclusive_guest(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut left = 0;
    for path in ["/drip?n=1000000&ms=10", "/stall-mid-body", "/bytes?n=268435456"] {
        for protocol in [Http1, H2c] {
            let mut client = server.connect(protocol).await;
            let mut response = client.head_of(path).await;
            assert!(response.frame().await.is_some_and(|frame| frame.is_ok()));
            drop((response, client));
            left += 1;
            let what = "the guest is gone";
            let now = server.until(what, |now| now.instances.live() == 0).await;
            assert_eq!((now.streaming, now.cancelled, now.responded), (0, 0, left));
            let cancelled = now.retired.get(Reason::Cancelled);
            assert_eq!((cancelled, now.retired.total()), (left, left), "{path}");
        }
    }
}
setups!(leaving_a_body_ends_an_exclusive_guest: p2_fresh p2_reused p3_exclusive);

/// On a shared guest, others go on; what is left of it is post-return work.
async fn is_left_alone(setup: Setup, path: &str, protocol: Protocol) -> millpond::Snapshot {
    let server = setup
        .serve_with(|builder| builder.limits(|limits| limits.post_return_timeout = SECOND))
        .await;
    let held = Held::hold(&server).await;
    let drip = Sent::get(&server, "/drip?n=30&ms=20");
    let mut client = server.connect(protocol).await;
    let mut response = client.head_of(path).await;
    assert!(response.frame().await.is_some_and(|frame| frame.is_ok()));
    drop((response, client));
    assert_answer(&server.get("/hello").await, "hello\n");
    let drip = drip.reply().await;
    assert_eq!((drip.text().lines().count(), drip.broken), (30, false));
    server.until("it was noticed", |now| now.streaming == 0).await;
    assert_answer(&held.let_go().await, "0");
    let over = |now: &millpond::Snapshot| now.instances.idle == 1 || now.instances.live() == 0;
    let now = server.until("it is over", over).await;
    assert_eq!((now.starts, now.responded, now.failed, now.cancelled), (1, 4, 0, 0));
    now
}

async fn leaving_a_shared_body_harms_no_others(setup: Setup) {
    for protocol in [Http1, H2c] {
        // These guests notice, and end their part.
        for path in ["/drip?n=1000000&ms=10", "/bytes?n=268435456"] {
            let now = is_left_alone(setup, path, protocol).await;
            assert_eq!((now.instances.idle, now.retired.total()), (1, 0), "{path}");
        }
        // This one does not.
        let now = is_left_alone(setup, "/stall-mid-body", protocol).await;
        assert_eq!((now.instances.live(), now.retired.get(Reason::Timeout)), (0, 1));
    }
}
setups!(leaving_a_shared_body_harms_no_others: p3_shared);

async fn a_stream_reset_cancels_only_its_request(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut client = server.connect(H2c).await;
    let reset = client.request("/never").body(empty()).expect("a good request");
    let reset = tokio::time::timeout(Duration::from_millis(300), client.send(reset)).await;
    assert!(reset.is_err(), "the client lost patience");
    server.until("it was noticed", |now| now.cancelled == 1).await;
    let mut body = client.head_of("/drip?n=1000000&ms=10").await;
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    assert_answer(&client.get("/hello").await, "hello\n");
    drop(body);
    server.until("it was noticed", |now| now.streaming == 0).await;
    assert_answer(&client.get("/hello").await, "hello\n");
    let now = server.pool.snapshot();
    assert_eq!((now.responded, now.cancelled), (3, 1));
    if !setup.is_shared() {
        server.until("their guests are gone", |now| now.retired.get(Reason::Cancelled) == 2).await;
    }
}
setups!(a_stream_reset_cancels_only_its_request);

async fn dropping_an_unpolled_call_frees_its_seat(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    assert_answer(&server.get("/counter").await, "1\n");
    server.until("it is idle", |now| now.instances.idle == 1).await;
    let permit = server.pool.try_reserve().expect("a permit");
    let request = http::Request::get("http://localhost/never").body(empty()).expect("a request");
    let given_up = server.pool.serve(permit, request);
    assert_eq!(server.pool.snapshot().busy, 1, "it was handed over at once");
    drop(given_up);
    let now = server.until("the instance is idle", |now| now.instances.idle == 1).await;
    assert_eq!((now.busy, now.abandoned, now.cancelled), (0, 0, 1));
    assert_answer(&server.get("/counter").await, "2\n");
}
setups!(dropping_an_unpolled_call_frees_its_seat: p3_shared);

async fn a_neglected_guest_is_driven_on(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let permit = server.pool.try_reserve().expect("a permit");
    let request = http::Request::get("http://localhost/sleep?ms=1").body(empty());
    let mut neglected = server.pool.serve(permit, request.expect("a request"));
    assert!(futures::poll!(&mut neglected).is_pending(), "it starts, or the guest sleeps");
    // The future is not polled, and no other request comes near the guest.
    server.until("the guest has answered", |now| now.streaming == 1).await;
    assert_eq!(neglected.await.expect("an answer").status(), 200);
}
setups!(a_neglected_guest_is_driven_on: p3_shared);

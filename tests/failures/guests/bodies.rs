use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use millpond::Reason;
use millpond_tests::Protocol::{self, H2c, Http1};
use millpond_tests::{Server, empty, whole};

use crate::setup::{Held, SECOND, Sent, Setup, all_idle, assert_answer, until_another_starts};

/// A body that no longer moves ends its instance, and looks broken.
async fn is_cut(setup: Setup, path: &str) {
    let server = setup
        .serve_with(|builder| builder.limits(|limits| limits.body_stall_timeout = SECOND))
        .await;
    for (protocol, cuts) in [(Http1, 1), (H2c, 2)] {
        let begin = Instant::now();
        let reply = server.connect(protocol).await.get(path).await;
        let took = begin.elapsed();
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "partial\n"));
        assert!(reply.broken, "{protocol:?}: a body cut short never looks complete");
        assert!(took >= SECOND && took < SECOND * 3, "{protocol:?}: {took:?}");
        server.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!(server.pool.snapshot().retired.get(Reason::Timeout), cuts);
    }
    assert_answer(&server.get("/hello").await, "hello\n");
}

async fn a_guest_stalling_in_a_body_is_cut(setup: Setup) {
    is_cut(setup, "/stall-mid-body").await;
}
setups!(a_guest_stalling_in_a_body_is_cut);

async fn a_guest_computing_in_a_body_is_cut(setup: Setup) {
    is_cut(setup, "/spin-mid-body").await;
}
setups!(a_guest_computing_in_a_body_is_cut);

async fn a_slowly_moving_body_is_not_cut(setup: Setup) {
    let server = setup
        .serve_with(|builder| {
            builder.limits(|limits| {
                limits.request_timeout = SECOND;
                limits.body_stall_timeout = SECOND;
            })
        })
        .await;
    let begin = Instant::now();
    let reply = server.get("/drip?n=10&ms=300").await;
    assert!(begin.elapsed() > SECOND * 2, "longer than any time there is");
    assert_eq!((reply.text().lines().count(), reply.broken), (10, false));
}
setups!(a_slowly_moving_body_is_not_cut);

async fn giving_up_a_body_keeps_the_instance(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    assert_answer(&server.get("/counter").await, "1\n");
    for protocol in [Http1, H2c] {
        all_idle(&server).await;
        let reply = server.connect(protocol).await.get("/abort-body").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "partial\n"));
        assert!(reply.broken, "{protocol:?}: a body cut short never looks complete");
    }
    let now = server.until("nothing runs", |now| now.streaming + now.instances.post_return == 0);
    let now = now.await;
    assert_eq!(now.retired.get(Reason::Trap), 0);
    if setup.is_reused() {
        assert_answer(&server.get("/counter").await, "2\n");
        assert_eq!(server.pool.snapshot().starts, 1, "the same instance all along");
    }
}
setups!(giving_up_a_body_keeps_the_instance);

/// Asserts that the answer to a request never looks complete. `most` bytes may have come of it.
async fn is_broken(server: &Server, protocol: Protocol, path: &str, most: usize) {
    let mut client = server.connect(protocol).await;
    let request = client.request(path).body(empty()).expect("a good request");
    // The connection may break before the head is out, which is honest as well.
    if let Ok(response) = client.send(request).await {
        let reply = whole(response).await;
        assert!(reply.broken, "{protocol:?}: {reply:?}");
        assert!(reply.body.len() <= most, "{protocol:?}: {reply:?}");
    }
}

async fn a_body_shorter_than_announced_is_broken(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    for protocol in [Http1, H2c] {
        is_broken(&server, protocol, "/bytes?n=10&lie=20", 10).await;
        is_broken(&server, protocol, "/bytes?n=0&lie=20", 0).await;
        is_broken(&server, protocol, "/bytes?n=1000000&lie=1000001&chunk=10000", 1_000_000).await;
    }
    assert_answer(&server.get("/hello").await, "hello\n");
}
setups!(a_body_shorter_than_announced_is_broken);

async fn a_body_longer_than_announced_is_broken(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    for protocol in [Http1, H2c] {
        is_broken(&server, protocol, "/bytes?n=10&lie=5", 5).await;
    }
    assert_answer(&server.get("/hello").await, "hello\n");
}
setups!(a_body_longer_than_announced_is_broken);

/// Reads at least `most` bytes, if there are as many.
async fn read_some(body: &mut Incoming, most: usize, into: &mut Vec<u8>) -> bool {
    let until = into.len() + most;
    while into.len() < until {
        match body.frame().await {
            Some(frame) => {
                into.extend_from_slice(&frame.expect("not cut").into_data().expect("data"));
            }
            None => return false,
        }
    }
    true
}

async fn a_slow_reader_gets_the_whole_body(setup: Setup) {
    let server = setup
        .serve_with(|builder| {
            builder.limits(|limits| {
                limits.request_timeout = SECOND;
                limits.post_return_timeout = SECOND;
                limits.idle_timeout = SECOND;
                limits.body_stall_timeout = SECOND;
            })
        })
        .await;
    let read = async |protocol: Protocol| {
        let begin = Instant::now();
        let mut client = server.connect(protocol).await;
        let mut response = client.head_of("/bytes?n=41943040").await;
        let mut bytes = Vec::new();
        while read_some(response.body_mut(), 2 << 20, &mut bytes).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(begin.elapsed() > SECOND * 2, "longer than any two times there are");
        assert_eq!(bytes.len(), 41_943_040);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    };
    tokio::join!(read(Http1), read(H2c));
    assert_eq!(server.pool.snapshot().retired.get(Reason::Timeout), 0);
}
setups!(a_slow_reader_gets_the_whole_body);

async fn a_client_that_does_not_read_is_cut(setup: Setup) {
    let server = setup
        .serve_with(|builder| builder.limits(|limits| limits.body_stall_timeout = SECOND))
        .await;
    for (protocol, cuts) in [(Http1, 1), (H2c, 2)] {
        let begin = Instant::now();
        let mut client = server.connect(protocol).await;
        let response = client.head_of("/bytes?n=268435456").await;
        let now = server.until("the guest is gone", |now| now.instances.live() == 0).await;
        let gone = begin.elapsed();
        assert!(gone >= SECOND && gone < SECOND * 4, "{protocol:?}: {gone:?}");
        assert_eq!(now.retired.get(Reason::Timeout), cuts);
        let reply = whole(response).await;
        assert!(reply.broken, "{protocol:?}: {} bytes", reply.body.len());
        assert!(reply.body.len() < 268_435_456);
    }
}
setups!(a_client_that_does_not_read_is_cut);

async fn a_stuck_client_holds_up_no_others(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut client = server.connect(Http1).await;
    let unread = client.head_of("/bytes?n=268435456").await;
    let held = Held::hold(&server).await;
    for _ in 0..10 {
        assert_answer(&server.get("/hello").await, "hello\n");
    }
    assert_answer(&held.let_go().await, "0");
    assert_eq!(server.pool.snapshot().streaming, 1, "it is still there");
    drop(unread);
}
setups!(a_stuck_client_holds_up_no_others);

async fn a_stuck_client_costs_neighbours_nothing(setup: Setup) {
    let server = setup
        .serve_with(|builder| builder.limits(|limits| limits.body_stall_timeout = SECOND))
        .await;
    let mut client = server.connect(Http1).await;
    let unread = client.head_of("/bytes?n=268435456").await;
    let held = Held::hold(&server).await;
    assert_eq!(server.pool.snapshot().starts, 1, "on the same instance");
    until_another_starts(&server).await;
    let now = server.pool.snapshot();
    assert_eq!(
        (now.busy, now.streaming, now.retired.total()),
        (1, 1, 0),
        "it finishes what it has"
    );
    assert_answer(&held.let_go().await, "0");
    let now = server.until("the rest is cut", |now| now.retired.total() == 1).await;
    assert_eq!(now.retired.get(Reason::Timeout), 1);
    assert!(whole(unread).await.broken);
}
setups!(a_stuck_client_costs_neighbours_nothing: p3_shared);

async fn empty_writes_add_nothing_to_a_body(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let empty = Sent::get(&server, "/empty-writes?n=100000");
    assert_answer(&server.get("/hello").await, "hello\n");
    assert_answer(&empty.reply().await, "end\n");
}
setups!(empty_writes_add_nothing_to_a_body);

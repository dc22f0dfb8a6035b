//! Guests that break, in either half.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::Router;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use millpond::Reason;
use millpond_tests::{Front, PATIENCE, empty, whole};

use crate::setup::{
    PROTOCOLS, Script, assert_failure, assert_trap, begin, finish, guests, next, out, says, streams,
};

#[tokio::test]
async fn a_first_half_trap_skips_the_handler() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let app = Router::new().fallback(async move || {
        counted.fetch_add(1, Relaxed);
    });
    let front = Front::start(guests(|builder| builder).await, app).await;
    for (protocol, traps) in PROTOCOLS.into_iter().zip(1..) {
        let mut client = front.connect(protocol).await;
        assert_eq!(out(&Script("requests", "").get(&mut client).await), "1");
        assert_trap(&Script("trap", "").get(&mut client).await);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.retired.get(Reason::Trap), now.retired.total()), (traps, traps));
        assert_eq!((now.failed, now.responded), (traps, traps));
    }
    assert_eq!(calls.load(Relaxed), 2, "only for those that passed");
}

#[tokio::test]
async fn a_late_trap_before_the_head_is_500() {
    let front = Front::start(guests(|builder| builder).await, says("secret")).await;
    for (protocol, traps) in PROTOCOLS.into_iter().zip([0, 2]) {
        let mut client = front.connect(protocol).await;
        assert_trap(&Script("", "trap").get(&mut client).await);
        assert_trap(&Script("features 2", "set 1 a b;trap").get(&mut client).await);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!(now.retired.get(Reason::Trap), traps + 2);
        assert_eq!((now.failed, now.pinned), (traps + 2, 0));
    }
    let mut client = front.connect(PROTOCOLS[0]).await;
    assert_eq!(out(&Script("requests", "").get(&mut client).await), "1");
}

#[tokio::test]
async fn a_late_trap_while_buffering_is_500() {
    let (app, mut streams) = streams();
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let send = async {
            let mut stream = next(&mut streams).await;
            stream.send_data(Bytes::from_static(b"one")).await.expect("a reader");
            finish(stream, "two").await;
        };
        let (reply, ()) = tokio::join!(Script("features 2", "trap").get(&mut client), send);
        assert_trap(&reply);
    }
    front.until("the guests are gone", |now| now.instances.live() == 0).await;
}

#[tokio::test]
async fn a_trap_after_the_head_breaks_the_body() {
    let (app, mut streams) = streams();
    let front = Front::start(guests(|builder| builder).await, app).await;
    for (protocol, traps) in PROTOCOLS.into_iter().zip(1..) {
        let mut client = front.connect(protocol).await;
        let script = Script("requests", "trap");
        let (stream, response) = begin(&front, &mut client, &mut streams, script).await;
        assert_eq!(response.headers()["x-out"], "1", "a guest of its own");
        let now = front.pool.snapshot();
        assert_eq!((now.streaming, now.responded, now.busy), (1, traps, 0));
        finish(stream, "two").await;
        let reply = whole(response).await;
        assert!(reply.broken, "{protocol:?}: {reply:?}");
        assert_eq!(reply.status, 200);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.retired.get(Reason::Trap), now.failed), (traps, 0));
    }
}

#[tokio::test]
async fn a_guest_survives_a_broken_body() {
    let (app, mut streams) = streams();
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let script = Script("", "error");
        let (stream, response) = begin(&front, &mut client, &mut streams, script).await;
        stream.abort(std::io::Error::other("broken"));
        let reply = whole(response).await;
        assert!(reply.broken, "{protocol:?}");
        front.until("the guest is idle", |now| now.instances.idle == 1).await;
        let mut client = front.connect(protocol).await;
        assert_eq!(out(&Script("last;answer", "").get(&mut client).await), "true");
    }
    assert_eq!(front.pool.snapshot().starts, 1);
}

#[tokio::test]
async fn a_body_broken_before_the_head_is_502() {
    let (app, mut streams) = streams();
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let send = async {
            let mut stream = next(&mut streams).await;
            stream.send_data(Bytes::from_static(b"one")).await.expect("a reader");
            stream.abort(std::io::Error::other("broken"));
        };
        let (reply, ()) = tokio::join!(Script("features 2", "error").get(&mut client), send);
        assert_failure(&reply, 502, "http_response_incomplete", "upstream failed");
        assert_eq!(out(&Script("last;answer", "").get(&mut client).await), "true");
    }
    let now = front.until("the guest is idle", |now| now.instances.idle == 1).await;
    assert_eq!((now.starts, now.retired.total()), (1, 0));
}

#[tokio::test]
async fn a_guest_learns_of_a_service_failure() {
    use millpond::http_wasm::{HttpWasmLayer, RequestBody};
    use tower::{Layer as _, ServiceExt as _, service_fn};

    let pool = guests(|builder| builder).await;
    let inner = service_fn(async |_: http::Request<RequestBody>| {
        Err::<http::Response<millpond_tests::Body>, _>("out of order")
    });
    let service = HttpWasmLayer::new(pool.clone()).layer(inner);
    for script in [Script("next 5", "error;ctx"), Script("features 2;next 5", "error;ctx")] {
        let request = script.on(http::Request::get("/")).body(empty()).expect("a good request");
        let failed = tokio::time::timeout(PATIENCE, service.clone().oneshot(request)).await;
        assert_eq!(failed.expect("in good time").expect_err("it fails"), "out of order");
        assert_eq!((pool.snapshot().instances.idle, pool.snapshot().retired.total()), (1, 0));
        let request = Script("last;answer", "").on(http::Request::get("/"));
        let request = request.body(empty()).expect("a good request");
        let reply = service.clone().oneshot(request).await.expect("the guest answers");
        assert_eq!(reply.headers()["x-out"], "true;5");
        reply.into_body().collect().await.expect("a body");
    }
    // A guest that breaks then does not hide what came first.
    let request = Script("", "trap").on(http::Request::get("/"));
    let request = request.body(empty()).expect("a good request");
    let failed = service.clone().oneshot(request).await;
    assert_eq!(failed.expect_err("it fails"), "out of order");
    millpond_tests::until("the guest is gone", || {
        (pool.snapshot().retired.get(Reason::Trap) == 1).then_some(())
    })
    .await;
}

//! Guests in front of guests.

use std::time::Duration;

use axum::Router;
use millpond::http_wasm::HttpWasmLayer;
use millpond::{HttpVersion, InfallibleService, Reason};
use millpond_tests::{Front, empty, full, whole};

use crate::setup::{
    PROTOCOLS, Script, assert_failure, guests, header, mirror, mirrored_values, out, says, seen,
};

/// Tells the inner guest what to do.
const OUTER: Script<'static> = Script(
    "features 2;add 0 order outer;\
    set 0 x-request features%202%3Badd%200%20order%20inner;\
    set 0 x-response add%201%20back%20inner",
    "add 1 back outer",
);

#[tokio::test]
async fn the_outer_guest_comes_first_and_last() {
    let (outer, inner) = (guests(|builder| builder).await, guests(|builder| builder).await);
    let app = mirror().layer(HttpWasmLayer::new(inner.clone()));
    let front = Front::start(outer, app).await;
    for (protocol, served) in PROTOCOLS.into_iter().zip([0, 2]) {
        let mut client = front.connect(protocol).await;
        let reply = OUTER.get(&mut client).await;
        assert_eq!(mirrored_values(&seen(&reply), "order"), ["outer", "inner"]);
        let back: Vec<_> = reply.headers.get_all("back").iter().collect();
        assert_eq!(back, ["inner", "outer"]);

        // What the inner one answers, and its failures, the outer one sees as any answer.
        let trap = Script("features 2;set 0 x-request trap", "status;tell");
        let reply = trap.get(&mut client).await;
        assert_eq!((reply.status.as_u16(), header(&reply, "x-back")), (500, "500"));
        let now = inner.snapshot();
        assert_eq!(now.retired.get(Reason::Trap), served / 2 + 1);
        assert_eq!(front.pool.snapshot().responded, served + 2);
    }
    assert_eq!(front.pool.snapshot().retired.total(), 0);
}

#[tokio::test]
async fn a_pool_in_front_of_itself_refuses() {
    let pool = guests(|builder| {
        builder.limits(|limits| {
            limits.max_instances = 1;
            limits.queue_timeout = Duration::from_millis(200);
        })
    })
    .await;
    let app = says("hello").layer(HttpWasmLayer::new(pool.clone()));
    let front = Front::start(pool, app).await;
    let reply = Script("", "").get(&mut front.connect(PROTOCOLS[0]).await).await;
    assert_failure(&reply, 503, "connection_timeout", "queue timeout");
    front.until("the guest is free", |now| now.instances.idle == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_in_front_of_wasi_http() {
    for version in [HttpVersion::P2, HttpVersion::P3] {
        let behind = millpond_tests::pool(version, |builder| builder).await;
        let app = Router::new().fallback_service(InfallibleService::new(behind.clone()));
        let front = Front::start(guests(|builder| builder).await, app).await;
        for protocol in PROTOCOLS {
            let mut client = front.connect(protocol).await;
            let reply = Script("set_uri /hello", "").get(&mut client).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello\n"));

            let script =
                Script("features 3;drink 0 99;digest;set_uri /echo", "drink 1 99;digest;tell");
            let body = crate::setup::noise(50_000);
            let post = |request: http::request::Builder| request.method("POST");
            let reply = script.send(&mut client, post, full(body.clone())).await;
            let digest = crate::setup::digest(&body);
            assert!(reply.body == body && !reply.broken);
            assert_eq!(out(&reply), format!("3;50000;{digest}"));
            assert_eq!(header(&reply, "x-back"), format!("50000;{digest}"));

            let reply = Script("set_uri /trap", "status").get(&mut client).await;
            assert_failure(&reply, 500, "proxy_internal_error", "guest trapped");
            let request = Script("set_uri /trap-mid-body", "error").on(client.request("/"));
            let response = client.send(request.body(empty()).expect("a good request")).await;
            if let Ok(response) = response {
                assert!(whole(response).await.broken, "{version} {protocol:?}");
            }
            let mut client = front.connect(protocol).await;
            let reply = Script("last;answer", "").get(&mut client).await;
            assert_eq!(out(&reply), "true", "{version} {protocol:?}");
        }
        let now = front.until("its guest is idle", |now| now.instances.idle == 1).await;
        assert_eq!((now.starts, now.retired.total()), (1, 0));
        let traps = behind.snapshot().retired.get(Reason::Trap);
        assert_eq!(traps, 4, "{version}");
    }
}

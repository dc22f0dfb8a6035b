//! The limits of a pool of guests.

use std::time::Duration;

use bytes::Bytes;
use millpond::Reason;
use millpond::http_wasm::MaxRequests;
use millpond_tests::{Client, Front, Reply, full};

use crate::setup::{
    Gate, PROTOCOLS, Script, Sent, assert_failure, assert_trap, guests, mirrored_values, noise,
    out, seen,
};

#[tokio::test]
async fn what_has_no_place_is_refused_at_once() {
    let gate = Gate::closed();
    let pool = guests(|builder| {
        builder.limits(|limits| (limits.max_instances, limits.max_queue) = (2, 1))
    });
    let front = Front::start(pool.await, gate.app()).await;
    let script = Script("features 2", "kept");
    let held = [Sent::get(front.addr, script), Sent::get(front.addr, script)];
    gate.until_come(2).await;
    let waits = Sent::get(front.addr, script);
    front.until("it waits", |now| now.queued == 1).await;
    for (protocol, refused) in PROTOCOLS.into_iter().zip(1..) {
        let reply = script.get(&mut front.connect(protocol).await).await;
        assert_failure(&reply, 503, "connection_limit_reached", "overloaded");
        assert_eq!(reply.headers["retry-after"], "1");
        let now = front.pool.snapshot();
        assert_eq!((now.overloaded, now.instances.live(), now.starts), (refused, 2, 2));
    }
    gate.open(3);
    for sent in held.into_iter().chain([waits]) {
        assert_eq!(sent.reply().await.text(), "through\n");
    }
    assert_eq!(front.pool.snapshot().starts, 2, "never more");
}

#[tokio::test]
async fn what_waits_for_too_long_is_refused() {
    let gate = Gate::closed();
    let pool = guests(|builder| {
        builder.limits(|limits| {
            limits.max_instances = 1;
            limits.queue_timeout = Duration::from_millis(100);
        })
    });
    let front = Front::start(pool.await, gate.app()).await;
    let held = Sent::get(front.addr, Script("features 2", "kept"));
    gate.until_come(1).await;
    let reply = Sent::get(front.addr, Script("", "")).reply().await;
    assert_failure(&reply, 503, "connection_timeout", "queue timeout");
    gate.open(1);
    assert_eq!(held.reply().await.text(), "through\n");
}

#[tokio::test]
async fn the_guest_used_last_is_used_next() {
    let gate = Gate::closed();
    let front = Front::start(guests(|builder| builder).await, gate.app()).await;
    let script = Script("features 2;instance", "kept");
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Sent::get(front.addr, script));
        gate.until_come(1).await;
    }
    let mut last = String::new();
    for sent in held {
        // The gate lets them pass in the order in which they came.
        gate.open(1);
        let reply = sent.reply().await;
        out(&reply).clone_into(&mut last);
    }
    gate.open(5);
    for _ in 0..5 {
        assert_eq!(out(&Sent::get(front.addr, script).reply().await), last);
    }
    let now = front.until("all are idle", |now| now.instances.idle == 3).await;
    assert_eq!(now.starts, 3);
}

#[tokio::test]
async fn a_guest_serves_its_maximum_of_requests() {
    let max_requests = MaxRequests::exactly(3);
    let pool = guests(|builder| builder.limits(|limits| limits.max_requests = max_requests));
    let front = Front::start(pool.await, Gate::closed().app()).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    for requests in ["1", "2", "3", "1", "2", "3", "1"] {
        let reply = Script("requests;answer", "").get(&mut client).await;
        assert_eq!(out(&reply), requests);
    }
    let ended = |now: &millpond::Snapshot| now.retired.get(Reason::Requests) == 2;
    front.until("two have ended", ended).await;
}

#[tokio::test]
async fn a_guest_with_nothing_to_do_ends() {
    let idle = Duration::from_millis(50);
    let pool = guests(|builder| builder.limits(|limits| limits.idle_timeout = idle)).await;
    let front = Front::start(pool, Gate::closed().app()).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    Script("answer", "").get(&mut client).await;
    let now = front.until("it has ended", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Idle), now.retired.total()), (1, 1));
    let reply = Script("requests;answer", "").get(&mut client).await;
    assert_eq!(out(&reply), "1");
}

#[tokio::test]
async fn spares_are_made_ahead_of_requests() {
    let pool = guests(|builder| builder.limits(|limits| limits.min_idle = 3)).await;
    let warmed = tokio::time::timeout(millpond_tests::PATIENCE, pool.warmed());
    warmed.await.expect("they start");
    let front = Front::start(pool, Gate::closed().app()).await;
    let now = front.pool.snapshot();
    assert_eq!((now.starts, now.spares, now.instances.idle), (3, 3, 3));
    let mut client = front.connect(PROTOCOLS[0]).await;
    let reply = Script("instance;answer", "").get(&mut client).await;
    let instance: u64 = out(&reply).parse().expect("a number");
    assert!(instance <= 3, "one of those: {instance}");
}

const MAX: usize = 10_000;

async fn post(client: &mut Client, script: Script<'_>, body: &Bytes) -> Reply {
    script.send(client, |request| request.method("POST"), full(body.clone())).await
}

#[tokio::test]
async fn no_more_of_a_body_is_held_than_may_be() {
    let pool = guests(|builder| builder.max_body(MAX)).await;
    // As long as it was asked to be.
    let app = axum::Router::new().fallback(async |request: axum::extract::Request| {
        let len = request.headers().get("x-len").and_then(|len| len.to_str().ok()?.parse().ok());
        vec![b'x'; len.unwrap_or(0)]
    });
    let front = Front::start(pool, app).await;
    for protocol in PROTOCOLS {
        let request = Script("features 1;drink 0 100", "");
        let mut client = front.connect(protocol).await;
        assert_eq!(post(&mut client, request, &noise(MAX)).await.status, 200);
        let reply = post(&mut client, request, &noise(MAX + 1)).await;
        assert_failure(&reply, 413, "http_request_error", "request body too large");

        let mut client = front.connect(protocol).await;
        for (len, status) in [("10000", 200), ("10001", 502)] {
            let with = |request: http::request::Builder| request.header("x-len", len);
            let reply = Script("features 2", "error")
                .send(&mut client, with, millpond_tests::empty())
                .await;
            assert_eq!(reply.status, status);
            if status == 502 {
                assert_failure(&reply, 502, "http_response_incomplete", "upstream failed");
                let last = Script("last;answer", "").get(&mut client).await;
                assert_eq!(out(&last), "true", "the guest was told");
            }
        }
        for (script, status) in [
            (Script("answer;fill 1 10000", ""), 200),
            (Script("answer;fill 1 10001", ""), 500),
            (Script("answer;fill 1 5000;fill 1 5001", ""), 500),
            (Script("fill 0 10000", ""), 200),
            (Script("fill 0 10001", ""), 500),
            (Script("features 2", "fill 1 10000"), 200),
            (Script("features 2", "fill 1 10001"), 500),
        ] {
            let reply = script.get(&mut client).await;
            assert_eq!(reply.status, status, "{protocol:?} {} {}", script.0, script.1);
            assert_eq!(reply.headers.contains_key("proxy-status"), status == 500);
            if status == 500 {
                assert_trap(&reply);
            }
        }
    }
}

#[tokio::test]
async fn a_guest_has_as_much_memory_as_it_may() {
    let pool = guests(|builder| builder.max_memory(4 << 20)).await;
    let front = Front::start(pool, crate::setup::mirror()).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let reply = Script("answer;fill 1 1000000", "").get(&mut client).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 1_000_000));
    let reply = Script("answer;fill 1 8000000", "").get(&mut client).await;
    assert_trap(&reply);
    let reply = Script("set 0 a b", "").get(&mut client).await;
    assert_eq!(mirrored_values(&seen(&reply), "a"), ["b"], "another one serves");
}

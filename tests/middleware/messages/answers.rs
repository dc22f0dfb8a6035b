//! Guests that answer themselves, and what becomes of an answer that two had a part in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::Router;
use http::StatusCode;
use millpond_tests::Front;

use crate::setup::{PROTOCOLS, Script, back, guests, header, out};

/// Counts its calls.
fn counted() -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let app = Router::new().fallback({
        let calls = Arc::clone(&calls);
        async move || {
            calls.fetch_add(1, Relaxed);
            "inner\n"
        }
    });
    (app, calls)
}

#[tokio::test]
async fn an_answer_skips_the_next_handler() {
    let (app, calls) = counted();
    let front = Front::start(guests(|builder| builder).await, app).await;
    for (protocol, before) in PROTOCOLS.into_iter().zip([0, 2]) {
        let mut client = front.connect(protocol).await;
        let script = Script("requests;answer;set_status 403;set 1 a b;write 1 no", "trap");
        let reply = script.get(&mut client).await;
        assert_eq!((reply.status.as_u16(), reply.text(), header(&reply, "a")), (403, "no", "b"));
        assert_eq!(out(&reply), (before + 1).to_string());
        let reply = Script("requests;answer", "").get(&mut client).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""), "the default");
        assert_eq!(out(&reply), (before + 2).to_string(), "the guest was free again");
        assert_eq!(calls.load(Relaxed), 0);
    }
    let now = front.until("it is idle", |now| now.instances.idle == 1).await;
    assert_eq!((now.starts, now.responded), (1, 4), "handle_response would have trapped");
}

#[tokio::test]
async fn an_answer_with_a_context_ends_it_too() {
    let (app, calls) = counted();
    let front = Front::start(guests(|builder| builder).await, app).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    for requests in ["1", "2", "3"] {
        let reply = Script("requests;next 4294967295 0", "trap").get(&mut client).await;
        assert_eq!((out(&reply), reply.text()), (requests, ""));
        front.until("it is idle", |now| now.instances.idle == 1).await;
    }
    assert_eq!((calls.load(Relaxed), front.pool.snapshot().starts), (0, 1));
}

#[tokio::test]
async fn all_32_bits_of_the_context_come_back() {
    let (app, calls) = counted();
    let front = Front::start(guests(|builder| builder).await, app).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    for (script, ctx) in [
        (Script("features 2;next 0", "ctx;error;tell"), "0;false"),
        (Script("features 2;next 16", "ctx;error;tell"), "16;false"),
        (Script("features 2;next 2147483648", "ctx;error;tell"), "2147483648;false"),
        (Script("features 2;next 4294967295", "ctx;error;tell"), "4294967295;false"),
        (Script("features 2;next 3735928559 2147483648", "ctx;error;tell"), "3735928559;false"),
    ] {
        let reply = script.get(&mut client).await;
        assert_eq!((back(&reply), reply.text()), (ctx, "inner\n"));
    }
    assert_eq!(calls.load(Relaxed), 5, "any bit of the lower half is a yes");
}

#[tokio::test]
async fn the_handlers_headers_replace_or_add() {
    let app = Router::new().fallback(async || {
        let headers = [
            ("a", "inner"),
            ("set-cookie", "inner"),
            ("vary", "inner"),
            ("content-type", "text/inner"),
        ];
        (StatusCode::CREATED, headers, "body")
    });
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for script in [
            Script(
                "set 1 a guest;set 1 b guest;set 1 set-cookie guest;set 1 Vary guest;set 1 content-type guest",
                "",
            ),
            Script(
                "features 2;set 1 a guest;set 1 b guest;set 1 set-cookie guest;set 1 Vary guest;set 1 content-type guest",
                "status",
            ),
        ] {
            let reply = script.get(&mut client).await;
            let values = |name| reply.headers.get_all(name).iter().collect::<Vec<_>>();
            assert_eq!(reply.status, 201);
            assert_eq!(values("a"), ["inner"]);
            assert_eq!(values("b"), ["guest"]);
            assert_eq!(values("set-cookie"), ["guest", "inner"]);
            assert_eq!(values("vary"), ["guest", "inner"]);
            assert_eq!(values("content-type"), ["text/inner"]);
        }
    }
}

#[tokio::test]
async fn the_guests_status_stays() {
    let app = Router::new().fallback(async || (StatusCode::NOT_FOUND, "inner"));
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for (script, status) in [
            (Script("status", "status"), 404),
            (Script("set_status 202", ""), 202),
            (Script("features 2;set_status 202", "status;tell"), 202),
            (Script("features 2;set_status 202", "set_status 203"), 203),
            (Script("features 2", "status;tell;set_status 599"), 599),
        ] {
            let reply = script.get(&mut client).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (status, "inner"), "{}", script.0);
        }
    }
}

#[tokio::test]
async fn reads_the_status_without_buffering() {
    let app = Router::new().fallback(async || (StatusCode::NOT_FOUND, "inner"));
    let front = Front::start(guests(|builder| builder).await, app).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let reply = Script("status", "status;values 1 content-type 99").get(&mut client).await;
    assert_eq!((reply.status.as_u16(), out(&reply)), (404, "200"));
    let reply = Script("last", "").get(&mut client).await;
    assert_eq!(out(&reply), "404;1/26=text/plain%3B%20charset=utf-8|");
}

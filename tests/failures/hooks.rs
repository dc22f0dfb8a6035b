use std::sync::{Arc, Mutex};
use std::thread;

use millpond::Reason;

use crate::setup::{
    Held, Recorder, SECOND, Seen, Sent, Setup, all_idle, assert_answer, assert_failure, drain,
};

async fn hooks_see_all_in_order(setup: Setup) {
    let (recorder, record) = Recorder::new();
    let server = setup.serve_host(recorder, |builder| builder).await;
    for _ in 0..3 {
        assert_answer(&server.get("/hello").await, "hello\n");
        all_idle(&server).await;
    }
    drain(&server).await;
    let started = |instance| Seen::Started { instance };
    let request =
        |instance, request_id| Seen::Request { instance, request_id, alone: !setup.is_shared() };
    let retired = |instance, reason| Seen::Retired { instance, reason, error: false };
    let expected = if setup.is_reused() {
        vec![started(1), request(1, 1), request(1, 2), request(1, 3), retired(1, Reason::Drain)]
    } else {
        (1..=3).flat_map(|n| [started(n), request(n, n), retired(n, Reason::Requests)]).collect()
    };
    assert_eq!(record.all(), expected);
}
setups!(hooks_see_all_in_order);

async fn the_retire_hook_gets_each_store_once(setup: Setup) {
    let (recorder, record) = Recorder::new();
    let server = setup
        .serve_host(recorder, |builder| {
            builder.limits(|limits| {
                limits.request_timeout = SECOND;
                limits.idle_timeout = SECOND;
            })
        })
        .await;
    let mut expected = Vec::new();
    for (path, reason, error) in [
        ("/trap", Reason::Trap, true),
        ("/trap-mid-body", Reason::Trap, true),
        ("/exit", Reason::Exit, true),
        ("/exit?when=after", Reason::Exit, true),
        ("/sleep?ms=600000", Reason::Timeout, false),
        ("/spin", Reason::Timeout, false),
    ] {
        server.get(path).await;
        expected.push((expected.len() as u64 + 1, reason, error));
        assert_eq!(record.retired(expected.len()).await, expected, "{path}");
    }
    if !setup.is_shared() {
        let left = Sent::get(&server, "/never");
        server.until("it is on its guest", |now| now.busy == 1).await;
        left.leave();
        expected.push((7, Reason::Cancelled, false));
        assert_eq!(record.retired(7).await, expected);
    }
    server.get("/hello").await;
    let last = if setup.is_reused() { Reason::Idle } else { Reason::Requests };
    expected.push((expected.len() as u64 + 1, last, false));
    assert_eq!(record.retired(expected.len()).await, expected);

    let held = Held::hold(&server).await;
    server.pool.stop();
    assert_eq!(held.reply().await.status, 503);
    expected.push((expected.len() as u64 + 1, Reason::Drain, false));
    assert_eq!(record.retired(expected.len()).await, expected);
    drain(&server).await;
    assert_eq!(record.retired(0).await, expected, "each only once");
}
setups!(the_retire_hook_gets_each_store_once);

async fn a_panicking_retire_hook_harms_no_others(setup: Setup) {
    let (mut recorder, record) = Recorder::new();
    recorder.at_retire = Box::new(|_| panic!("on_retire was told to panic"));
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 1))
        .await;
    for _ in 0..5 {
        assert_answer(&server.get("/counter").await, "1\n");
        assert_eq!(server.get("/trap").await.status, 500);
    }
    let now = drain(&server).await;
    assert_eq!((now.responded, now.failed), (5, 5));
    assert_eq!(record.retired(0).await.len() as u64, now.starts);
}
setups!(a_panicking_retire_hook_harms_no_others);

async fn data_panicking_in_drop_harms_no_others(setup: Setup) {
    let (mut recorder, _) = Recorder::new();
    recorder.at_drop = Arc::new(|_| panic!("the data was told to panic"));
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 1))
        .await;
    for _ in 0..5 {
        assert_answer(&server.get("/counter").await, "1\n");
        assert_eq!(server.get("/trap").await.status, 500);
    }
    let now = drain(&server).await;
    assert_eq!((now.responded, now.failed), (5, 5));
}
setups!(data_panicking_in_drop_harms_no_others);

async fn a_panicking_request_hook_fails_one(setup: Setup) {
    let (mut recorder, record) = Recorder::new();
    recorder.at_request = Box::new(|request_id| assert!(request_id % 2 == 1, "told to panic"));
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 1))
        .await;
    for _ in 0..3 {
        assert_answer(&server.get("/counter").await, "1\n");
        let reply = server.get("/hello").await;
        assert_failure(&reply, 500, "proxy_internal_error", "host panic");
    }
    let now = drain(&server).await;
    assert_eq!((now.responded, now.failed, now.retired.get(Reason::Host)), (3, 3, 3));
    assert_eq!(record.retired(0).await.len() as u64, now.starts);
}
setups!(a_panicking_request_hook_fails_one);

async fn a_panicking_start_hook_fails_one(setup: Setup) {
    let (mut recorder, _) = Recorder::new();
    recorder.at_start = Box::new(|instance| assert!(instance % 2 == 1, "told to panic"));
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 1))
        .await;
    for _ in 0..3 {
        assert_eq!(server.get("/trap").await.status, 500);
        let reply = server.get("/hello").await;
        assert_failure(&reply, 500, "proxy_internal_error", "instantiation failed");
    }
    let now = drain(&server).await;
    assert_eq!((now.starts, now.failed_starts, now.retired.get(Reason::Trap)), (6, 3, 3));
}
setups!(a_panicking_start_hook_fails_one);

/// The kernel takes each page of a large memory back, for longer than a tick: no thread that serves others waits for it.
#[tokio::test]
async fn large_instances_end_aside() {
    for setup in [crate::setup::p2_fresh(), crate::setup::p3_exclusive()] {
        let (mut recorder, record) = Recorder::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let (see, here) = (Arc::clone(&ended), thread::current().id());
        recorder.at_retire =
            Box::new(move |_| see.lock().expect("no panic").push(thread::current().id() == here));
        let server = setup.serve_host(recorder, |builder| builder).await;
        for (count, path) in ["/hello", "/alloc?mib=20", "/trap"].into_iter().enumerate() {
            server.get(path).await;
            record.retired(count + 1).await;
        }
        assert_eq!(*ended.lock().expect("no panic"), [true, false, true]);
    }
}

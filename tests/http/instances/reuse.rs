//! How often an instance is used, and what it may do after its answer.

use futures::future::join_all;
use millpond::HttpVersion::{P2, P3};
use millpond::{MaxRequests, Reason};
use millpond_tests::{PATIENCE, Protocol, Server, pool};

use crate::support::{PROTOCOLS, WAYS, server};

/// Calls `/counter`, and waits until its instance has nothing to do any more.
async fn count(server: &Server, protocol: Protocol) -> u64 {
    let reply = server.connect(protocol).await.get("/counter").await;
    assert_eq!(reply.status, 200);
    server.until("all is quiet", |now| now.instances.live() == now.instances.idle).await;
    reply.text().trim_end().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_instance_has_seen_nothing() {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
        for protocol in PROTOCOLS {
            for _ in 0..3 {
                assert_eq!(count(&server, protocol).await, 1, "{way:?} {protocol:?}");
            }
        }
        let snapshot = server.pool.snapshot();
        assert_eq!((snapshot.starts, snapshot.retired.get(Reason::Requests)), (6, 6), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_instances_are_fresh_by_default() {
    let server = Server::start(pool(P2, |builder| builder).await).await;
    for _ in 0..3 {
        assert_eq!(count(&server, Protocol::Http1).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_instances_serve_96_to_128_by_default() {
    let server = Server::start(pool(P3, |builder| builder).await).await;
    let mut last = 0;
    loop {
        let number = count(&server, Protocol::H2c).await;
        if last > 0 && number == 1 {
            break;
        }
        assert_eq!(number, last + 1);
        last = number;
    }
    assert!((96..=128).contains(&last), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_requests_is_exact() {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(10)).await;
        let mut counts = Vec::new();
        for _ in 0..12 {
            counts.push(count(&server, Protocol::Http1).await);
        }
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2], "{way:?}");
        let snapshot = server.pool.snapshot();
        assert_eq!((snapshot.starts, snapshot.retired.get(Reason::Requests)), (2, 1), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn max_requests_is_exact_under_load() {
    const CLIENTS: usize = 16;
    const EACH: usize = 25;
    for way in WAYS {
        let server = server(way, |limits| {
            limits.max_requests = MaxRequests::exactly(7);
            limits.max_instances = 4;
            limits.queue_timeout = PATIENCE;
        })
        .await;
        let counts = join_all((0..CLIENTS).map(async |_| {
            let mut client = server.connect(Protocol::Http1).await;
            let mut counts = Vec::new();
            for _ in 0..EACH {
                let reply = client.get("/counter").await;
                counts.push(reply.text().trim_end().parse::<usize>().expect("a number"));
            }
            counts
        }))
        .await;

        let mut seen = [0_u64; 8];
        for count in counts.into_iter().flatten() {
            assert!((1..=7).contains(&count), "{way:?}: request {count} of an instance");
            seen[count] += 1;
        }
        assert!(seen[1..].is_sorted_by(|a, b| a >= b), "{way:?}: no number left out: {seen:?}");
        let now =
            server.until("all is quiet", |now| now.instances.live() == now.instances.idle).await;
        assert_eq!(now.starts, seen[1], "{way:?}: {seen:?}");
        assert_eq!(now.retired.get(Reason::Requests), seen[7], "{way:?}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_after_the_answer_is_visible() {
    join_all(WAYS.map(async |way| {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(10)).await;
        let reply = server.get("/post-return?ms=3000").await;
        assert_eq!((reply.text(), reply.broken), ("done\n", false), "{way:?}");
        let now = server
            .until("the guest works on", |now| {
                assert_eq!(now.instances.idle, 0, "{way:?}: it has not ended before it was seen");
                now.instances.post_return == 1
            })
            .await;
        assert_eq!((now.busy, now.streaming, now.instances.live()), (0, 0, 1), "{way:?}");

        // One that serves others beside it goes on serving; one that serves one at a time waits.
        if way.1 == 1 {
            assert_eq!(server.get("/counter").await.text(), "1\n", "{way:?}");
            assert_eq!(server.pool.snapshot().starts, 2, "{way:?}: another instance");
            server.pool.set_limits({
                let mut limits = server.pool.limits();
                limits.max_instances = 1;
                limits
            });
            server.until("the idle one is ended", |now| now.instances.live() == 1).await;
        }
        server.until("it is done", |now| now.instances.idle == 1).await;
        assert_eq!(server.get("/post-return-count").await.text(), "1\n", "{way:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_after_the_only_answer_is_finished() {
    join_all(WAYS.map(async |way| {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
        for protocol in PROTOCOLS {
            let reply = server.connect(protocol).await.get("/post-return?ms=1500").await;
            assert_eq!(reply.text(), "done\n", "{way:?}");
            let now = server.until("the guest works on", |now| now.instances.post_return == 1);
            assert_eq!(now.await.instances.live(), 1, "{way:?} {protocol:?}");
            server.until("it is gone", |now| now.instances.live() == 0).await;
        }
        let retired = server.pool.snapshot().retired;
        assert_eq!((retired.get(Reason::Requests), retired.total()), (2, 2), "{way:?}");
    }))
    .await;
}

//! Bodies: streamed, whole, and not sent at all.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use millpond::{MaxRequests, Reason};
use millpond_tests::{PATIENCE, Protocol, empty, full, pool, until, whole};
use tokio::time::timeout;

use crate::support::{PROTOCOLS, WAYS, held_back, pattern, read_exactly, server};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes_each_chunk_of_8_mib_as_it_comes() {
    const CHUNK: usize = 64 * 1024;
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            let (mut upload, body) = held_back();
            let request = client.request("/echo").method("POST").body(body).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut echo = response.into_body();
            for i in 0..8 * MIB / CHUNK {
                // No two are alike.
                let chunk: Vec<u8> = (0..CHUNK).map(|at| (at * 7 + i * 31) as u8).collect();
                let chunk = Bytes::from(chunk);
                timeout(PATIENCE, upload.send_data(chunk.clone())).await.unwrap().unwrap();
                // Nothing more is sent before this has come back.
                let echoed = read_exactly(&mut echo, CHUNK).await;
                assert!(echoed == chunk, "{way:?} {protocol:?}: chunk {i} differs");
            }
            drop(upload);
            let end = timeout(PATIENCE, echo.collect()).await.unwrap().expect("a clean end");
            assert_eq!(end.to_bytes().len(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_8_mib_arrives_whole() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let reply = server.connect(protocol).await.post("/drain", vec![7; 8 * MIB]).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "8388608"), "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_trailers_arrive() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            let request = client.request("/trailers").header("te", "trailers").body(empty());
            let reply = whole(client.send(request.unwrap()).await.unwrap()).await;
            assert_eq!(reply.text(), "body\n", "{way:?} {protocol:?}");
            let trailers = reply.trailers.expect("trailers");
            assert_eq!(trailers.len(), 1);
            assert_eq!(trailers["x-checksum"], "42");
            assert!(!reply.broken);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unrequested_trailers_keep_the_body_whole() {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
        let mut client = server.connect(Protocol::Http1).await;
        let reply = client.get("/trailers").await;
        assert_eq!((reply.text(), reply.broken), ("body\n", false), "{way:?}");
        assert_eq!(reply.trailers, None);
        assert_eq!(client.get("/hello").await.text(), "hello\n", "the connection goes on");
        server.until("both instances are gone", |now| now.instances.live() == 0).await;
        assert_eq!(server.pool.snapshot().retired.get(Reason::Requests), 2, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_trailers_are_echoed() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            let (mut upload, body) = held_back();
            let request = client
                .request("/echo")
                .method("POST")
                .header("te", "trailers")
                .header("trailer", "x-sum")
                .body(body)
                .unwrap();
            let response = client.send(request).await.unwrap();
            upload.send_data(Bytes::from_static(b"data")).await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("17"));
            upload.send_trailers(trailers.clone()).await.unwrap();
            drop(upload);
            let reply = whole(response).await;
            assert_eq!((reply.text(), reply.broken), ("data", false), "{way:?} {protocol:?}");
            assert_eq!(reply.trailers, Some(trailers), "{way:?} {protocol:?}");
        }
    }
}

async fn head_of_a_large_response(protocol: Protocol) {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
        let mut client = server.connect(protocol).await;
        for (path, length) in
            [("/bytes?n=50000000&length=1", Some("50000000")), ("/bytes?n=50000000", None)]
        {
            let request = client.request(path).method("HEAD").body(empty()).unwrap();
            let reply = whole(client.send(request).await.unwrap()).await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0), "{way:?}");
            assert!(!reply.broken, "{way:?} {path}");
            let said = reply.headers.get("content-length").map(|value| value.as_bytes());
            assert_eq!(said, length.map(str::as_bytes), "{way:?} {path}");
            assert_eq!(client.get("/hello").await.text(), "hello\n", "{way:?}");
        }
        server.until("no instance is left behind", |now| now.instances.live() == 0).await;
        let snapshot = server.pool.snapshot();
        assert_eq!(snapshot.retired.get(Reason::Cancelled), 0, "{way:?}");
        assert_eq!(snapshot.retired.get(Reason::Requests), 4, "{way:?}");
        assert_eq!(snapshot.responded, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_head_over_http1_is_no_cancel() {
    head_of_a_large_response(Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_head_over_h2c_is_no_cancel() {
    head_of_a_large_response(Protocol::H2c).await;
}

async fn head_does_not_wait_for_the_body(protocol: Protocol) {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
        let mut client = server.connect(protocol).await;
        // A minute's worth of body.
        let request = client.request("/drip?n=60&ms=1000").method("HEAD");
        let reply = whole(client.send(request.body(empty()).unwrap()).await.unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
        assert!(!reply.broken, "{way:?}");
        assert_eq!(client.get("/hello").await.text(), "hello\n", "{way:?}");
        let now = server.until("one guest goes on", |now| now.instances.post_return == 1).await;
        assert_eq!(now.streaming, 0, "the seat is free again");
        assert_eq!(now.retired.get(Reason::Cancelled), 0, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_over_http1_does_not_await_the_body() {
    head_does_not_wait_for_the_body(Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_over_h2c_does_not_await_the_body() {
    head_does_not_wait_for_the_body(Protocol::H2c).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_download_outlasts_request_timeout() {
    let expected: String = (0..25).map(|i| format!("drip {i}\n")).collect();
    let downloads = WAYS.iter().flat_map(|way| PROTOCOLS.map(|protocol| (*way, protocol)));
    join_all(downloads.map(async |(way, protocol)| {
        let server = server(way, |limits| limits.request_timeout = Duration::from_secs(1)).await;
        let reply = server.connect(protocol).await.get("/drip?n=25&ms=100").await;
        assert_eq!(reply.text(), expected, "{way:?} {protocol:?}");
        assert!(!reply.broken, "{way:?} {protocol:?}");
        assert_eq!(server.pool.snapshot().retired.get(Reason::Timeout), 0);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodiless_responses_keep_the_connection() {
    for way in WAYS {
        for protocol in PROTOCOLS {
            let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
            let mut client = server.connect(protocol).await;
            for code in [204, 304, 200, 404] {
                let reply = client.get(&format!("/status?code={code}")).await;
                assert_eq!((reply.status.as_u16(), reply.body.len()), (code, 0), "{way:?}");
                assert!(!reply.broken, "{way:?} {protocol:?} {code}");
            }
            assert_eq!(client.get("/hello").await.text(), "hello\n", "{way:?} {protocol:?}");
            server.until("no instance is left behind", |now| now.instances.live() == 0).await;
            let snapshot = server.pool.snapshot();
            assert_eq!(snapshot.retired.get(Reason::Requests), 5, "{way:?} {protocol:?}");
            assert_eq!(snapshot.retired.total(), 5, "{way:?} {protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_length_is_kept() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            for path in ["/bytes?n=1000000&length=1&chunk=777", "/bytes?n=1000000&chunk=777"] {
                let reply = client.get(path).await;
                assert!(reply.body == pattern(1_000_000), "{way:?} {protocol:?} {path}");
                assert!(!reply.broken);
                let said = reply.headers.get("content-length").map(|value| value.as_bytes());
                let expected = path.contains("length=1").then_some(&b"1000000"[..]);
                assert_eq!(said, expected, "{way:?} {protocol:?} {path}");
            }
        }
    }
}

/// Not over a socket: what hyper does with a body whose last byte it has sent is up to hyper.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_complete_body_abandons_none() {
    for (version, concurrency) in WAYS {
        let pool = pool(version, |builder| {
            builder.limits(move |limits| {
                limits.concurrency = concurrency;
                limits.max_requests = MaxRequests::exactly(1);
            })
        });
        let pool = pool.await;
        let start = async |path: &str| {
            let uri = format!("http://localhost{path}");
            let request = http::Request::get(uri).body(empty()).unwrap();
            let permit = pool.reserve().await.unwrap();
            pool.serve(permit, request).await.unwrap().into_body()
        };

        let mut body = start("/bytes?n=100000&length=1&chunk=1000").await;
        let mut seen = 0;
        while seen < 100_000 {
            seen += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        drop(body);
        until("it is gone", || (pool.snapshot().instances.live() == 0).then_some(())).await;
        let retired = pool.snapshot().retired;
        assert_eq!((retired.get(Reason::Requests), retired.total()), (1, 1), "{version}");

        // And the other way round: a body dropped before its end.
        if concurrency == 1 {
            let mut body = start("/drip?n=60&ms=1000").await;
            body.frame().await.unwrap().unwrap();
            drop(body);
            until("it is gone", || (pool.snapshot().instances.live() == 0).then_some(())).await;
            assert_eq!(pool.snapshot().retired.get(Reason::Cancelled), 1, "{version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_writes_leave_no_trace() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let reply = server.connect(protocol).await.get("/empty-writes?n=10000").await;
            assert_eq!((reply.text(), reply.broken), ("end\n", false), "{way:?} {protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_request_body_is_no_obstacle() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            let request =
                client.request("/hello").method("POST").body(full(vec![0; 1000])).unwrap();
            let reply = whole(client.send(request).await.unwrap()).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello\n"), "{way:?}");
        }
    }
}

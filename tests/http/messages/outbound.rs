//! Requests that guests make.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use millpond::{WasiHost, WasmPool};
use millpond_tests::{PATIENCE, Server, pool_of};
use tokio::time::timeout;

use crate::support::{PROTOCOLS, Upload, WAYS, Way, held_back, read_exactly};

/// A server that guests call.
struct Upstream {
    addr: std::net::SocketAddr,
    requests: Arc<AtomicUsize>,
    /// Its bodies, one for each request.
    bodies: tokio::sync::mpsc::UnboundedReceiver<Upload>,
}

impl Upstream {
    async fn start() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let (sender, bodies) = tokio::sync::mpsc::unbounded_channel();
        let counter = Arc::clone(&requests);
        let answer = move || async move {
            counter.fetch_add(1, SeqCst);
            let (upload, body) = held_back();
            sender.send(upload).unwrap();
            (http::StatusCode::IM_A_TEAPOT, Body::new(body))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Router::new().route("/tea", get(answer));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { addr, requests, bodies }
    }
}

async fn server((version, concurrency): Way, host: WasiHost) -> Server {
    let builder = WasmPool::builder(host).limits(move |limits| limits.concurrency = concurrency);
    Server::start(pool_of(version, builder).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_streams_an_outbound_answer() {
    for way in WAYS {
        let mut upstream = Upstream::start().await;
        let server = server(way, WasiHost::new()).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            let response =
                client.head_of(&format!("/fetch?url=http://{}/tea", upstream.addr)).await;
            assert_eq!(response.status(), 418, "{way:?} {protocol:?}");
            let mut body = response.into_body();
            let mut upload = upstream.bodies.recv().await.unwrap();
            for part in ["first", "second"] {
                upload.send_data(Bytes::from_static(part.as_bytes())).await.unwrap();
                assert_eq!(read_exactly(&mut body, part.len()).await, part, "{way:?}");
            }
            drop(upload);
            let rest = timeout(PATIENCE, body.collect()).await.unwrap().expect("a clean end");
            assert_eq!(rest.to_bytes().len(), 0, "{way:?} {protocol:?}");
        }
        assert_eq!(upstream.requests.load(SeqCst), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_not_on_the_list_are_denied() {
    let upstream = Upstream::start().await;
    let elsewhere = format!("127.0.0.1:{}", upstream.addr.port() ^ 1);
    for way in WAYS {
        for host in [
            WasiHost::new().deny_outbound(),
            WasiHost::new().allow_outbound(elsewhere.parse().unwrap()),
            WasiHost::new().allow_outbound("localhost".parse().unwrap()),
        ] {
            let server = server(way, host).await;
            let reply = server.get(&format!("/fetch?url=http://{}/tea", upstream.addr)).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text()),
                (502, "ErrorCode::HttpRequestDenied\n"),
                "{way:?}"
            );
            assert!(!reply.headers.contains_key("proxy-status"), "it is the guest's own answer");
        }
    }
    assert_eq!(upstream.requests.load(SeqCst), 0, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_may_call_what_is_on_the_list() {
    let mut upstream = Upstream::start().await;
    for way in WAYS {
        let host = WasiHost::new()
            .allow_outbound("unrelated.example".parse().unwrap())
            .allow_outbound(upstream.addr.to_string().parse().unwrap());
        let server = server(way, host).await;
        let mut client = server.connect(PROTOCOLS[0]).await;
        let response = client.head_of(&format!("/fetch?url=http://{}/tea", upstream.addr)).await;
        assert_eq!(response.status(), 418, "{way:?}");
        drop(upstream.bodies.recv().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_learns_of_a_refused_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    for way in WAYS {
        let server = server(way, WasiHost::new()).await;
        let reply = server.get(&format!("/fetch?url=http://{addr}/")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (502, "ErrorCode::ConnectionRefused\n"),
            "{way:?}"
        );
    }
}

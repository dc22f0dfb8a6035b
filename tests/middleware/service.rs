//! The layer without axum around it: hyper alone, and callers that wait for readiness.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use futures::poll;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use millpond::http_wasm::{HttpWasmLayer, HttpWasmPool, HttpWasmService, RequestBody, SourceAddr};
use millpond_tests::{Client, PATIENCE, empty};
use tower::{Layer as _, Service, ServiceExt, service_fn};

use crate::setup::{Gate, PROTOCOLS, Script, guests, out};

/// Serves guests in front of a handler that answers `hello`, to HEAD too, with hyper alone.
async fn serve(pool: HttpWasmPool) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let inner = service_fn(async |request: Request<RequestBody>| {
        let mut response = Response::new(Full::<Bytes>::from("hello"));
        if request.method() == Method::HEAD {
            // As a server may: the length of what it does not send.
            response.headers_mut().insert("content-length", 5.into());
            *response.body_mut() = Full::default();
        }
        Ok::<_, Infallible>(response)
    });
    let service = HttpWasmLayer::new(pool).layer(inner);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service.clone().map_request(move |mut request: Request<_>| {
                request.extensions_mut().insert(SourceAddr(peer));
                request
            });
            tokio::spawn(async move {
                let connection = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                    .await;
                drop(connection);
            });
        }
    });
    addr
}

async fn plain_guests() -> HttpWasmPool {
    let pool = HttpWasmPool::builder().from_file(millpond_tests::guest_module()).await;
    pool.expect("the test guest is a module")
}

#[tokio::test]
async fn the_source_is_in_an_extension() {
    let addr = serve(plain_guests().await).await;
    for protocol in PROTOCOLS {
        let reply = Script("source 99", "").get(&mut Client::connect(addr, protocol).await).await;
        let source = out(&reply).split_once('=').expect("a value").1.parse::<SocketAddr>();
        assert!(source.expect("an address").ip().is_loopback());
        assert_eq!(reply.text(), "hello");
    }
}

#[tokio::test]
async fn head_responses_have_no_body() {
    let addr = serve(plain_guests().await).await;
    for protocol in PROTOCOLS {
        for script in [
            Script("", "kept"),
            Script("answer;write 1 body", ""),
            Script("write 1 body", "kept"),
            Script("features 2", "write 1 body"),
            Script("features 2;write 1 body", "drink 1 9"),
            Script("features 2", "drink 1 9"),
            Script("trap", ""),
        ] {
            let mut client = Client::connect(addr, protocol).await;
            let head = |request: http::request::Builder| request.method("HEAD");
            let reply = script.send(&mut client, head, empty()).await;
            let status = if script.0 == "trap" { 500 } else { 200 };
            assert_eq!(reply.status, status, "{protocol:?} {} {}", script.0, script.1);
            assert_eq!((reply.text(), reply.broken), ("", false), "{protocol:?} {}", script.0);
            if !script.0.contains("write") && !script.1.contains("write") && status == 200 {
                assert_eq!(reply.headers["content-length"], "5", "as GET has");
            }
            // The connection can be used on: no body was taken for the next head.
            let reply = Script("", "").get(&mut client).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello"));
        }
    }
}

/// What HEAD is told of the length.
async fn told(addr: SocketAddr, script: Script<'_>) -> [Option<String>; 2] {
    let mut told = [None, None];
    for (protocol, told) in PROTOCOLS.into_iter().zip(&mut told) {
        let mut client = Client::connect(addr, protocol).await;
        let head = |request: http::request::Builder| request.method("HEAD");
        let reply = script.send(&mut client, head, empty()).await;
        assert_eq!((reply.text(), reply.broken), ("", false), "{protocol:?} {}", script.0);
        assert!(!reply.headers.contains_key("transfer-encoding"), "{reply:?}");
        let length = reply.headers.get("content-length");
        *told = length.map(|length| length.to_str().expect("text").to_owned());
        // The connection can be used on.
        assert_eq!(Script("", "").get(&mut client).await.text(), "hello");
    }
    told
}

#[tokio::test]
async fn head_is_told_the_length_of_get_or_none() {
    let addr = serve(plain_guests().await).await;
    let same = |length: Option<&str>| [length.map(str::to_owned), length.map(str::to_owned)];
    for (script, length) in [
        (Script("", "kept"), Some("5")),
        // The handler makes a body that HEAD does not get.
        (Script("set_method GET", "kept"), Some("5")),
        (Script("set_method GET;features 2", "kept"), None),
        (Script("set_method GET;write 1 before", "kept"), None),
        (Script("write 1 before", "kept"), None),
        (Script("answer;write 1 body", ""), Some("4")),
        (Script("answer;set 1 content-length 7", ""), Some("7")),
        (Script("answer;set 1 content-length abc", ""), None),
        (Script("answer;add 1 content-length 7;add 1 content-length 8", ""), None),
        (Script("answer;set 1 content-length 7;set 1 transfer-encoding chunked", ""), Some("7")),
        (Script("answer;set_status 204;set 1 content-length 7", ""), None),
    ] {
        assert_eq!(told(addr, script).await, same(length), "{} {}", script.0, script.1);
    }
}

#[tokio::test]
async fn a_status_without_a_body_has_none() {
    let addr = serve(plain_guests().await).await;
    for protocol in PROTOCOLS {
        for script in [
            Script("answer;set_status 204;write 1 body", ""),
            Script("set_status 204", "kept"),
            Script("set_status 204;write 1 body", "kept"),
            Script("features 2;set_status 204", "kept"),
            Script("features 2", "set_status 204"),
            Script("features 2", "set_status 204;write 1 body"),
        ] {
            let mut client = Client::connect(addr, protocol).await;
            let reply = script.get(&mut client).await;
            assert_eq!((reply.status.as_u16(), reply.broken), (204, false));
            assert_eq!(reply.text(), "", "{protocol:?} {} {}", script.0, script.1);
            assert!(!reply.headers.contains_key("content-length"), "{protocol:?} {}", script.0);
        }
    }
}

#[tokio::test]
async fn a_wrong_length_breaks_no_other_request() {
    let addr = serve(plain_guests().await).await;
    for protocol in PROTOCOLS {
        for script in [
            Script("answer;write 1 hi;set 1 content-length 9", ""),
            Script("answer;write 1 hi;set 1 transfer-encoding chunked", ""),
            Script("set 1 content-length 9", ""),
            Script("set 1 transfer-encoding chunked", ""),
            Script("features 2;set 1 content-length 9", ""),
            Script("features 2", "set 1 content-length 9"),
            Script("features 2", "set 1 content-length 1"),
            Script("features 2", "set 1 transfer-encoding gzip"),
            Script("features 2", "add 1 content-length 5;add 1 content-length 7"),
            Script("features 2", "write 1 hi;set 1 content-length 9"),
        ] {
            let mut client = Client::connect(addr, protocol).await;
            let reply = script.get(&mut client).await;
            let expected = if script.1.contains("write") || script.0.contains("write") {
                "hi"
            } else {
                "hello"
            };
            assert_eq!(
                (reply.text(), reply.broken),
                (expected, false),
                "{} {}",
                script.0,
                script.1
            );
            let reply = Script("", "").get(&mut client).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello"));
        }
    }
}

type Answer = Response<Full<Bytes>>;

/// The layer in front of a gate.
fn gated(
    layer: HttpWasmLayer,
    gate: &Gate,
) -> HttpWasmService<
    impl Service<Request<RequestBody>, Response = Answer, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static,
> {
    let gate = gate.clone();
    layer.layer(service_fn(move |_: Request<RequestBody>| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Infallible>(Response::new(Full::from("through")))
        }
    }))
}

/// Waits for the service to take a request.
async fn ready<S: Service<Request<Full<Bytes>>, Error = Infallible>>(service: &mut S) -> &mut S {
    let ready = tokio::time::timeout(PATIENCE, service.ready()).await;
    ready.expect("it is ready in good time").expect("never")
}

fn request() -> Request<Full<Bytes>> {
    let request = Script("features 2", "kept").on(Request::get("/"));
    request.body(Full::default()).expect("a good request")
}

#[tokio::test]
async fn with_backpressure_ready_takes_a_place() {
    let gate = Gate::closed();
    let pool = guests(|builder| {
        builder.limits(|limits| (limits.max_instances, limits.max_queue) = (1, 0))
    })
    .await;
    let mut service = gated(HttpWasmLayer::with_backpressure(pool.clone()), &gate);
    ready(&mut service).await;
    assert_eq!(pool.snapshot().permits_reserved, 1);
    let first = tokio::spawn(service.call(request()));
    gate.until_come(1).await;

    let mut clone = service.clone();
    let mut second = Box::pin(ready(&mut clone));
    assert!(poll!(&mut second).is_pending(), "the guest is pinned");
    gate.open(2);
    let reply = first.await.expect("no panic").expect("never").into_body().collect().await;
    assert_eq!(reply.expect("a body").to_bytes(), "through");
    let second = second.await.call(request()).await.expect("never");
    assert_eq!(second.status(), 200);
    drop((second, service, clone));
    let now = pool.snapshot();
    assert_eq!((now.overloaded, now.permits_reserved, now.unaccounted()), (0, 0, 0));
}

#[tokio::test]
async fn without_backpressure_call_refuses() {
    let gate = Gate::closed();
    let pool = guests(|builder| {
        builder.limits(|limits| (limits.max_instances, limits.max_queue) = (1, 0))
    })
    .await;
    let mut service = gated(HttpWasmLayer::new(pool.clone()), &gate);
    let first = tokio::spawn(ready(&mut service).await.call(request()));
    gate.until_come(1).await;
    let refused = ready(&mut service).await.call(request()).await.expect("never");
    assert_eq!((refused.status().as_u16(), pool.snapshot().overloaded), (503, 1));
    gate.open(1);
    assert_eq!(first.await.expect("no panic").expect("never").status(), 200);
}

#[tokio::test]
async fn a_service_that_drains_is_ready_to_say_so() {
    let gate = Gate::closed();
    let pool = guests(|builder| builder).await;
    let mut service = gated(HttpWasmLayer::with_backpressure(pool.clone()), &gate);
    pool.drain().await;
    let refused = ready(&mut service).await.call(request()).await.expect("never");
    assert_eq!(refused.status(), 503);
}

#[tokio::test]
async fn readiness_is_the_inner_services_first() {
    #[derive(Clone)]
    struct Never(Arc<AtomicUsize>);

    impl Service<Request<RequestBody>> for Never {
        type Response = Answer;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Answer, Infallible>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            self.0.fetch_add(1, Relaxed);
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
            unreachable!("it is never ready")
        }
    }

    let pool = guests(|builder| builder).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let layer = HttpWasmLayer::with_backpressure(pool.clone());
    let mut service = layer.layer(Never(Arc::clone(&asked)));
    let mut waits = Box::pin(ready(&mut service));
    assert!(poll!(&mut waits).is_pending());
    assert_eq!((asked.load(Relaxed), pool.snapshot().permits_reserved), (1, 0));
}

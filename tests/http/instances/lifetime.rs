//! A pool leaves nothing behind once its last handle is dropped.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use millpond::wasmtime::{self, ResourceLimiter};
use millpond::{
    Host, HttpVersion, InstanceId, MaxRequests, RequestStart, StoreData, WasiHost, WasmPool,
};
use millpond_tests::{Protocol, Server, empty, pool_of, until, whole};

use crate::support::{WAYS, Way};

/// A host that can be seen to go: it holds on to something of the test's.
struct Traced {
    inner: WasiHost,
    _trace: Arc<()>,
}

impl Host for Traced {
    type Data = StoreData;

    fn data(&self, id: InstanceId) -> wasmtime::Result<StoreData> {
        self.inner.data(id)
    }

    fn limiter(data: &mut StoreData) -> &mut dyn ResourceLimiter {
        data.limiter()
    }

    fn on_request_start(&self, start: RequestStart<'_, StoreData>) {
        self.inner.on_request_start(start);
    }
}

async fn traced((version, concurrency): Way) -> (Arc<()>, Server<Traced>) {
    let trace = Arc::new(());
    let host = Traced { inner: WasiHost::new(), _trace: Arc::clone(&trace) };
    let builder = WasmPool::builder(host)
        .limits(move |limits| {
            limits.concurrency = concurrency;
            limits.max_requests = MaxRequests::exactly(10);
            limits.max_instances = 4;
        })
        // What goes does not go because it was idle.
        .limits(|limits| limits.idle_timeout = Duration::MAX);
    (trace, Server::start(pool_of(version, builder).await).await)
}

async fn is_gone(trace: Arc<()>, what: &str) {
    until(&format!("{what}: the pool is gone"), || (Arc::strong_count(&trace) == 1).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unused_pool_ends_with_its_last_handle() {
    for way in WAYS {
        let (trace, server) = traced(way).await;
        drop(server);
        is_gone(trace, &format!("{way:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_pool_ends_with_its_last_handle() {
    for way in WAYS {
        let (trace, server) = traced(way).await;
        assert_eq!(server.get("/hello").await.text(), "hello\n");
        server.until("it is idle", |now| now.instances.idle == 1).await;
        drop(server);
        is_gone(trace, &format!("{way:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_pool_ends_with_last_handle() {
    for way in WAYS {
        let (trace, server) = traced(way).await;
        let mut client = server.connect(Protocol::Http1).await;
        let request = client.request("/drip?n=60&ms=1000").body(empty()).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop((body, client, server));
        is_gone(trace, &format!("{way:?}")).await;
    }
}

/// The bodies of the other requests are cut, and their readers are the first to see the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_shared_instance_leaves_nothing() {
    for round in 0..20 {
        let (trace, server) = traced((HttpVersion::P3, 16)).await;
        let mut bodies = Vec::new();
        for _ in 0..4 {
            let mut client = server.connect(Protocol::Http1).await;
            bodies.push((client.head_of("/drip?n=60&ms=1").await, client));
        }
        let readers = bodies.into_iter().map(|(body, client)| async move {
            drop((whole(body).await, client));
        });
        let readers = futures::future::join_all(readers);
        let (_, trapped) = futures::future::join(readers, server.get("/trap")).await;
        assert_eq!(trapped.status, 500);
        drop(server);
        is_gone(trace, &format!("round {round}")).await;
    }
}

/// Responses that are over for their client before their guest is done, and requests that wait for
/// those very instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequential_requests_leave_nothing_behind() {
    for way in WAYS {
        let (trace, server) = traced(way).await;
        let turns = (0..60).map(|turn| {
            let server = &server;
            async move {
                let mut client = server.connect(Protocol::Http1).await;
                let (method, path) = match turn % 3 {
                    0 => ("HEAD", "/bytes?n=300000&chunk=1000&length=1"),
                    1 => ("GET", "/bytes?n=300000&chunk=1000&length=1"),
                    _ => ("GET", "/sleep?ms=5"),
                };
                let request = client.request(path).method(method).body(empty()).unwrap();
                let reply = whole(client.send(request).await.unwrap()).await;
                let length = [0, 300_000, 6][turn % 3];
                assert_eq!(
                    (reply.status.as_u16(), reply.body.len(), reply.broken),
                    (200, length, false)
                );
            }
        });
        futures::future::join_all(turns).await;
        drop(server);
        is_gone(trace, &format!("{way:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_pool_goes_with_its_last_handle() {
    for way in WAYS {
        let (trace, server) = traced(way).await;
        assert_eq!(server.get("/hello").await.text(), "hello\n");
        server.pool.drain().await;
        drop(server);
        is_gone(trace, &format!("{way:?}")).await;
    }
}

/// One request, and the end of the runtime. Whether the pool is gone after it.
fn goes_with_its_runtime(way: Way, path: &str) -> bool {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (trace, server) = runtime.block_on(async {
        let (trace, server) = traced(way).await;
        let mut client = server.connect(Protocol::Http1).await;
        let request = client.request(path).body(empty()).unwrap();
        let seen = tokio::spawn(async move { drop(client.send(request).await) });
        if path == "/never" {
            server.until("it runs", |now| now.busy == 1).await;
        } else {
            seen.await.unwrap();
            server.until("it is idle", |now| now.instances.idle == 1).await;
        }
        (trace, server)
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    drop(server);
    Arc::strong_count(&trace) == 1
}

#[test]
fn an_idle_pool_ends_with_its_runtime() {
    assert_eq!(WAYS.map(|way| goes_with_its_runtime(way, "/hello")), [true; 3]);
}

#[test]
fn a_running_pool_ends_with_its_runtime() {
    assert_eq!(WAYS.map(|way| goes_with_its_runtime(way, "/never")), [true; 3]);
}

//! Limits that are exact: instances, requests on each, and requests in all.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures::future::join_all;
use millpond::HttpVersion::{P2, P3};
use millpond::expiration::{InstanceExpiration as _, boxed, from_fn};
use millpond::wasmtime::{self, ResourceLimiter};
use millpond::{Ended, Host, InstanceId, MaxRequests, RequestStart, StoreData, WasiHost, WasmPool};
use millpond_tests::{PATIENCE, Protocol, Server, pool, pool_of};

use crate::support::{Held, PROTOCOLS, WAYS, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_guest_runs_sixteen_requests_at_once() {
    for protocol in PROTOCOLS {
        // However slow the machine is, the guest counts as one that will soon have room.
        let server = server((P3, 16), |limits| limits.settle_time = PATIENCE).await;
        let mut held = join_all((0..16).map(|_| Held::send(server.addr, protocol))).await;
        let now = server.until("all are in guests", |now| now.busy == 16).await;
        assert_eq!((now.instances.live(), now.starts), (1, 1), "{protocol:?}");
        // From the last to the first: a guest that took them one by one would never answer.
        while let Some(request) = held.pop() {
            assert_eq!(request.finish().await.text(), "5", "{protocol:?}");
        }
        assert_eq!(server.pool.snapshot().starts, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_sleepers_share_one_instance() {
    let server = server((P3, 16), |limits| limits.settle_time = PATIENCE).await;
    let sleepers = join_all((0..16).map(|_| server.get("/sleep?ms=4000")));
    let watched = server.until("all sleep", |now| now.busy == 16);
    let (replies, now) = futures::join!(sleepers, watched);
    assert_eq!((now.instances.live(), now.starts), (1, 1));
    for reply in replies {
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "slept\n"));
    }
    assert_eq!(server.pool.snapshot().starts, 1);
}

/// A host whose instances start when the test says so.
struct Gate {
    inner: WasiHost,
    open: Mutex<Receiver<()>>,
}

impl Gate {
    fn new() -> (Sender<()>, Self) {
        let (opener, open) = channel();
        (opener, Self { inner: WasiHost::new(), open: Mutex::new(open) })
    }
}

impl Host for Gate {
    type Data = StoreData;

    fn data(&self, id: InstanceId) -> wasmtime::Result<StoreData> {
        // Opened once and for all. With the door shut for ever, the start fails.
        let _ = self.open.lock().unwrap().recv_timeout(PATIENCE);
        self.inner.data(id)
    }

    fn limiter(data: &mut StoreData) -> &mut dyn ResourceLimiter {
        data.limiter()
    }

    fn on_request_start(&self, start: RequestStart<'_, StoreData>) {
        self.inner.on_request_start(start);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_waits_for_one_shared_instance() {
    let (opener, host) = Gate::new();
    let builder = WasmPool::builder(host).limits(|limits| {
        limits.concurrency = 16;
        limits.settle_time = PATIENCE;
        limits.start_timeout = PATIENCE;
        limits.queue_timeout = PATIENCE;
    });
    let server = Server::start(pool_of(P3, builder).await).await;
    let held = join_all((0..16).map(|_| Held::send(server.addr, Protocol::Http1))).await;
    // All are here, and the first instance has not started yet.
    let now = server.until("all are submitted", |now| now.submitted == 16).await;
    assert_eq!((now.starts, now.instances.starting, now.queued), (1, 1, 16));
    drop(opener);
    server.until("all are in guests", |now| now.busy == 16).await;
    for reply in join_all(held.into_iter().map(Held::finish)).await {
        assert_eq!(reply.text(), "5");
    }
    assert_eq!(server.pool.snapshot().starts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_starts_at_most_two_instances() {
    let server = server((P3, 16), |limits| limits.settle_time = PATIENCE).await;
    for _ in 0..5 {
        for reply in join_all((0..16).map(|_| server.get("/hello"))).await {
            assert_eq!(reply.text(), "hello\n");
        }
    }
    let starts = server.pool.snapshot().starts;
    assert!(starts <= 2, "{starts} instances started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_is_never_exceeded() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let pool = pool(P3, |builder| {
        builder
            .limits(|limits| {
                limits.concurrency = 4;
                limits.max_instances = 1;
                limits.queue_timeout = PATIENCE;
            })
            .expiration(|default| {
                boxed(default.or(from_fn(|cx| {
                    MOST.fetch_max(cx.view().busy + cx.view().streaming, SeqCst);
                    Poll::Pending
                })))
            })
    });
    let server = Server::start(pool.await).await;
    let held = join_all((0..10).map(|_| Held::send(server.addr, Protocol::Http1))).await;
    let now = server.until("all are submitted", |now| now.submitted == 10).await;
    assert_eq!(now.queued + now.busy, 10);
    let now = server.until("four run", |now| now.busy == 4).await;
    assert_eq!((now.queued, now.instances.live()), (6, 1));
    assert!(!held.iter().any(Held::is_answered));
    for reply in join_all(held.into_iter().map(Held::finish)).await {
        assert_eq!(reply.text(), "5");
    }
    assert_eq!(MOST.load(SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_run_than_max_running() {
    for way in WAYS {
        let server = server(way, |limits| {
            limits.max_running = Some(2);
            limits.queue_timeout = PATIENCE;
        })
        .await;
        let held = join_all((0..5).map(|_| Held::send(server.addr, Protocol::H2c))).await;
        server.until("all are submitted", |now| now.submitted == 5).await;
        let now = server.until("two run", |now| now.busy == 2).await;
        assert_eq!((now.queued, now.starting), (3, 0), "{way:?}");
        for reply in join_all(held.into_iter().map(Held::finish)).await {
            assert_eq!(reply.text(), "5", "{way:?}");
        }
    }
}

/// A host that counts its stores.
struct Counting {
    inner: WasiHost,
    live: AtomicUsize,
    most: Arc<AtomicUsize>,
}

impl Host for Counting {
    type Data = StoreData;

    fn data(&self, id: InstanceId) -> wasmtime::Result<StoreData> {
        self.most.fetch_max(self.live.fetch_add(1, SeqCst) + 1, SeqCst);
        self.inner.data(id)
    }

    fn limiter(data: &mut StoreData) -> &mut dyn ResourceLimiter {
        data.limiter()
    }

    fn on_request_start(&self, start: RequestStart<'_, StoreData>) {
        self.inner.on_request_start(start);
    }

    fn on_retire(&self, _: Ended<'_, StoreData>) {
        self.live.fetch_sub(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn max_instances_is_never_exceeded() {
    for (version, concurrency) in [(P2, 1), (P3, 4), (P3, 1)] {
        let most = Arc::new(AtomicUsize::new(0));
        let host =
            Counting { inner: WasiHost::new(), live: AtomicUsize::new(0), most: Arc::clone(&most) };
        let builder = WasmPool::builder(host).limits(move |limits| {
            limits.max_instances = 3;
            limits.concurrency = concurrency;
            // Instances come and go.
            limits.max_requests = MaxRequests::exactly(5);
            limits.queue_timeout = PATIENCE;
        });
        let server = Server::start(pool_of(version, builder).await).await;

        let stop = Arc::new(AtomicBool::new(false));
        let sampled = Arc::new(OnceLock::new());
        let sampler = std::thread::spawn({
            let (pool, stop) = (server.pool.clone(), Arc::clone(&stop));
            let sampled = Arc::clone(&sampled);
            move || {
                let (mut live, mut running) = (0, 0);
                while !stop.load(SeqCst) {
                    let now = pool.snapshot();
                    assert_eq!(now.unaccounted(), 0, "conservation: {now:?}");
                    live = live.max(now.instances.live());
                    running = running.max(now.busy + now.streaming);
                    let _ = sampled.set(());
                    std::thread::yield_now();
                }
                (live, running)
            }
        });
        millpond_tests::until("samples are taken", || sampled.get()).await;

        join_all((0..64).map(async |_| {
            let mut client = server.connect(Protocol::Http1).await;
            for _ in 0..5 {
                let reply = client.get("/sleep?ms=5").await;
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "slept\n"));
            }
        }))
        .await;

        stop.store(true, SeqCst);
        let (live, running) = sampler.join().unwrap();
        assert_eq!(live, 3, "{version}: as many as allowed, and no more");
        assert!(running <= 3 * concurrency, "{version}: {running} at once");
        assert_eq!(most.load(SeqCst), 3, "{version}: stores counted by the host");
        let now =
            server.until("all is quiet", |now| now.instances.live() == now.instances.idle).await;
        assert_eq!((now.responded, now.submitted), (320, 320), "{version}");
        assert!(now.starts >= 64, "{version}: {} starts for 320 requests", now.starts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_serves_the_rest() {
    for protocol in PROTOCOLS {
        for way in WAYS {
            let server = server((way.0, 1), |limits| {
                limits.max_instances = 2;
                limits.max_queue = 3;
                limits.queue_timeout = PATIENCE;
            })
            .await;
            let held = join_all((0..5).map(|_| Held::send(server.addr, protocol))).await;
            let now = server.until("all are submitted", |now| now.submitted == 5).await;
            assert_eq!(now.permits_free, 0, "{way:?} {protocol:?}");
            for _ in 0..3 {
                let reply = server.connect(protocol).await.get("/hello").await;
                assert_eq!((reply.status.as_u16(), reply.text()), (503, "overloaded\n"));
                assert_eq!(reply.headers["retry-after"], "1");
                assert_eq!(
                    reply.headers["proxy-status"],
                    "millpond; error=connection_limit_reached; details=\"overloaded\""
                );
            }
            for reply in join_all(held.into_iter().map(Held::finish)).await {
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "5"), "{way:?}");
            }
            assert_eq!(server.get("/hello").await.text(), "hello\n", "there is room again");
        }
    }
}

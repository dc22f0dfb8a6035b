//! `PoolService`: backpressure as tower middleware sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use millpond::{ErrorKind, Output, PoolService, WasiHost, WasmPool};
use tower::{Service, ServiceExt as _};

use crate::setup::{Setup, p2_reused};

type Mounted = PoolService<WasmPool<WasiHost>, Empty<Bytes>>;

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn waker() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    (Arc::clone(&wakes), Waker::from(wakes))
}

fn is_ready(service: &mut Mounted, waker: &Waker) -> bool {
    match service.poll_ready(&mut Context::from_waker(waker)) {
        Poll::Ready(ready) => {
            ready.expect("the pool does not drain");
            true
        }
        Poll::Pending => false,
    }
}

/// A pool with two permits: a seat and a place.
async fn two_permits() -> WasmPool {
    let setup: Setup = p2_reused();
    let host = WasiHost::new().output(Output::None);
    let limit = |limits: &mut millpond::Limits| {
        limits.max_instances = 1;
        limits.max_queue = 1;
    };
    setup.pool(host, |builder| builder.limits(limit)).await
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://localhost{path}")).body(Empty::new()).expect("a good request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_the_permits() {
    let pool = two_permits().await;
    let mut services: Vec<Mounted> = (0..4).map(|_| PoolService::new(pool.clone())).collect();
    let (wakes, waker): (Vec<_>, Vec<_>) = (0..4).map(|_| waker()).unzip();
    let woken = || wakes.iter().map(|wakes| wakes.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let ready: Vec<bool> = services.iter_mut().zip(&waker).map(|(s, w)| is_ready(s, w)).collect();
    assert_eq!(ready, [true, true, false, false]);
    assert_eq!((pool.snapshot().permits_reserved, pool.snapshot().permits_free), (2, 0));
    assert_eq!(woken(), [0, 0, 0, 0]);
    assert!(is_ready(&mut services[0], &waker[0]), "ready stays ready, with the same permit");
    assert_eq!(pool.snapshot().permits_reserved, 2);

    drop(services.remove(0));
    assert_eq!(woken(), [0, 0, 1, 0], "first come, first served");
    let mut newcomer: Mounted = PoolService::new(pool.clone());
    assert!(!is_ready(&mut newcomer, &waker[3]), "a newcomer does not overtake those who wait");
    assert!(is_ready(&mut services[1], &waker[2]));
    assert!(!is_ready(&mut services[2], &waker[3]));
    // One that waits and goes away does not take the permit of the next.
    drop(services.remove(2));
    drop(services);
    assert!(is_ready(&mut newcomer, &waker[3]));
    drop(newcomer);
    assert_eq!((pool.snapshot().permits_reserved, pool.snapshot().permits_free), (0, 2));
    assert_eq!(pool.snapshot().submitted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_starts_without_a_permit() {
    let pool = two_permits().await;
    let (_, waker) = waker();
    let mut service: Mounted = PoolService::new(pool.clone());
    assert!(is_ready(&mut service, &waker));
    let mut clone = service.clone();
    assert_eq!(pool.snapshot().permits_reserved, 1);
    assert!(is_ready(&mut clone, &waker));
    assert_eq!(pool.snapshot().permits_reserved, 2);
    drop(clone);
    assert_eq!(pool.snapshot().permits_reserved, 1, "each gives back its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_is_out_until_the_body_ends() {
    let pool = two_permits().await;
    let mut service: Mounted = PoolService::new(pool.clone());
    let response = service.ready().await.expect("ready").call(get("/drip?n=3&ms=10"));
    let response = response.await.expect("a response");
    let mut second: Mounted = PoolService::new(pool.clone());
    let (_, unused) = waker();
    assert!(is_ready(&mut second, &unused));
    let mut third: Mounted = PoolService::new(pool.clone());
    let (wakes, waker) = waker();
    assert!(!is_ready(&mut third, &waker));
    assert_eq!(pool.snapshot().permits_reserved, 1, "the first is spent");

    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body, "drip 0\ndrip 1\ndrip 2\n");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(is_ready(&mut third, &waker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_gives_its_permit_back() {
    let pool = two_permits().await;
    for cancelled in 1..=5 {
        let mut service: Mounted = PoolService::new(pool.clone());
        let call = service.ready().await.expect("ready").call(get("/never"));
        assert_eq!((pool.snapshot().submitted, pool.snapshot().permits_free), (cancelled, 1));
        drop(call);
        let now = pool.snapshot();
        assert_eq!((now.cancelled, now.permits_free, now.permits_reserved), (cancelled, 2, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_ends_with_the_drain() {
    let pool = two_permits().await;
    let mut services: Vec<Mounted> = (0..3).map(|_| PoolService::new(pool.clone())).collect();
    let (wakes, waker) = waker();
    let ready: Vec<bool> = services.iter_mut().map(|service| is_ready(service, &waker)).collect();
    assert_eq!(ready, [true, true, false]);
    let drained = pool.drain();
    assert!(wakes.0.load(Ordering::SeqCst) >= 1, "who waits in vain is told");
    let error = services[2].ready().await.expect_err("there will be no permit");
    assert_eq!((error.kind(), error.request_started()), (ErrorKind::Draining, false));
    // A permit from before is good for an answer, not for a guest.
    let error = services[0].call(get("/hello")).await.expect_err("refused");
    assert_eq!((error.kind(), error.request_started()), (ErrorKind::Draining, false));
    drop(services);
    tokio::time::timeout(millpond_tests::PATIENCE, drained).await.expect("the drain ends");
    assert_eq!((pool.snapshot().refused, pool.snapshot().starts), (1, 0));
}

//! wasmtime's `ProxyHandler` behind axum, set up as `wasmtime serve` 48 does it: pooling allocator,
//! its defaults for reuse, one second for idle instances, no time limit for requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http_body_util::BodyExt as _;
use tokio::time::Sleep;
use wasmtime::component::{Component, GuestTaskId};
use wasmtime::{Cache, Config, Engine, InstanceAllocationStrategy, Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState,
    WorkerStatus,
};

use super::Proxy;
use super::proxy_host::{Host, linker, store};

const IDLE: Duration = Duration::from_secs(1);

/// The application, and what says how many instances live.
pub(super) fn routers(proxy: &Proxy) -> wasmtime::Result<(Router, Router)> {
    let alive = Arc::new(AtomicUsize::new(0));
    let component = Component::from_file(&Engine::new(&config()?)?, &proxy.component)?;
    let app = handler(&component, (proxy.reuse, proxy.concurrency), Arc::clone(&alive))?;
    let count = move || async move {
        format!("instances{{status=\"live\"}} {}\n", alive.load(Ordering::Relaxed))
    };
    Ok((app, Router::new().route("/metrics", get(count))))
}

pub(crate) fn config() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .cache(Some(Cache::from_file(None)?))
        .allocation_strategy(InstanceAllocationStrategy::pooling());
    Ok(config)
}

/// A component, with how many requests each instance gets, and at a time.
pub(super) fn handler(
    component: &Component,
    reuse: (Option<usize>, Option<usize>),
    alive: Arc<AtomicUsize>,
) -> wasmtime::Result<Router> {
    let handler = ProxyHandler::new(Serve::new(component, reuse, alive)?);
    Ok(Router::new().fallback(answer).with_state(handler))
}

async fn answer(State(handler): State<ProxyHandler<Serve>>, request: Request) -> Response {
    let request = request.map(|body| {
        body.map_err(|error| wasmtime_wasi_http::Error::Connect(std::io::Error::other(error)))
            .boxed_unsync()
    });
    match handler.handle((), request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            eprintln!("error: {error:?}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Makes instances.
pub(crate) struct Serve {
    engine: Engine,
    pre: ProxyPre<Host>,
    next: AtomicU64,
    alive: Arc<AtomicUsize>,
    reuse: usize,
    concurrency: usize,
}

impl Serve {
    pub(crate) fn new(
        component: &Component,
        (wanted_reuse, wanted_concurrency): (Option<usize>, Option<usize>),
        alive: Arc<AtomicUsize>,
    ) -> wasmtime::Result<Self> {
        let engine = component.engine();
        let pre = linker(engine)?.instantiate_pre(component)?;
        let p3 = wasmtime_wasi_http::p3::bindings::ServicePre::new(pre.clone());
        let (pre, reuse, concurrency) = match p3 {
            Ok(pre) => (ProxyPre::P3(pre), 128, 16),
            Err(_) => {
                let pre = wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre)?;
                (ProxyPre::P2(pre), 1, 1)
            }
        };
        Ok(Self {
            engine: engine.clone(),
            next: AtomicU64::new(0),
            alive,
            reuse: wanted_reuse.unwrap_or(reuse),
            concurrency: match pre {
                ProxyPre::P2(_) => 1,
                ProxyPre::P3(_) => wanted_concurrency.unwrap_or(concurrency),
            },
            pre,
        })
    }
}

impl HandlerState for Serve {
    type StoreData = Host;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Host, Expiration, Worker>> {
        let mut store = store(&self.engine, self.next.fetch_add(1, Ordering::Relaxed));
        let proxy = self.pre.instantiate_async(&mut store).await?;
        self.alive.fetch_add(1, Ordering::Relaxed);
        Ok(Instance {
            store,
            proxy,
            view: Host::http,
            expiration: Expiration { sleep: Box::pin(tokio::time::sleep(Duration::MAX)) },
            state: Worker {
                reuse: self.reuse,
                concurrency: self.concurrency,
                alive: Arc::clone(&self.alive),
            },
        })
    }
}

pub(crate) struct Worker {
    reuse: usize,
    concurrency: usize,
    alive: Arc<AtomicUsize>,
}

impl WorkerState for Worker {
    type StoreData = Host;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.reuse {
            ShouldAccept::Never
        } else if concurrent >= self.concurrency {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Host>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(tokio::time::sleep(Duration::MAX))
    }

    fn drop(&self, store: Store<Host>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("worker failed: {error:?}");
        }
        drop(store);
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) struct Expiration {
    sleep: Pin<Box<Sleep>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        since: Instant,
    ) -> Poll<()> {
        if status != WorkerStatus::Idle {
            return Poll::Pending;
        }
        let deadline = (since + IDLE).into();
        if deadline != self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}

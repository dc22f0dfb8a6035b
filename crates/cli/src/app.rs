//! What is served: a component or an upstream, behind the middleware.

pub(crate) mod component;
pub(crate) mod middleware;
pub(crate) mod pool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use millpond::http_wasm::{BufferBudget, HttpWasmPool};
use millpond::ingress::IngressBody;
use millpond::{
    GuestIo, GuestIoUsage, InfallibleService, Ingress, MemoryAccount, Snapshot, WasmPool,
};
use tokio::time::{Instant, timeout_at};
use tower::{Layer as _, ServiceExt as _};
use tracing::warn;

use crate::config::header::Operator;
use crate::config::settings::Settings;
use crate::error::StartError;
use crate::listen::{Limits, Listener, Outcome, RequestBody};
use crate::process::descriptors::Shares;
use crate::process::status::print_status;
use crate::upstream::{Upstream, Usage};

/// How long the end of instances that were told to stop is waited for.
const STOPPING: Duration = Duration::from_secs(2);

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct App {
    answers: Target,
    /// The outermost first.
    middleware: Vec<HttpWasmPool>,
    /// What all of these together hold of bodies.
    buffers: BufferBudget,
    /// What the component's guests hold.
    io: GuestIo,
    /// Of all pools.
    memory: MemoryAccount,
}

/// Who answers what the middleware lets pass.
#[derive(Clone)]
enum Target {
    Component(WasmPool),
    Upstream(Upstream),
}

impl App {
    /// Compiles all that is to be compiled. What is wrong with one of the modules is said at once, however long
    /// another takes. Guests cannot reach the addresses at which the process itself listens, `own`.
    pub(crate) async fn start(
        settings: &Settings,
        shares: &Shares,
        own: Vec<SocketAddr>,
    ) -> Result<Self, StartError> {
        let io = GuestIo::new(shares.outbound, shares.files);
        let (memory, buffers) = (settings.memory_account(), middleware::buffers(settings));
        if let Some(origin) = &settings.upstream {
            if origin.is_one_of(&own) {
                let origin = origin.as_str();
                return Err(StartError::usage(format!(
                    "--upstream http://{origin}: this server listens there itself, expected another one"
                )));
            }
            let middleware = middleware::pools(settings, &memory, &buffers).await?;
            let answers =
                Target::Upstream(Upstream::new(origin.clone(), settings, shares.upstream));
            return Ok(Self { answers, middleware, buffers, io, memory });
        }
        let (pool, middleware) = tokio::try_join!(
            component::pool(settings, &memory, &io, own),
            middleware::pools(settings, &memory, &buffers)
        )?;
        if settings.component.is_none() {
            print_status(
                "No component given: this is the built-in demo. Next: millpond serve app.wasm",
            );
        }
        Ok(Self { answers: Target::Component(pool), middleware, buffers, io, memory })
    }

    /// Serves until `shutdown` resolves and the connections have ended. Each request first passes the ingress, and then
    /// gets the operator's headers.
    pub(crate) async fn serve(
        &self,
        listener: Listener,
        ingress: Ingress,
        operator: Operator,
        limits: Limits,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
        let operator = Arc::new(operator);
        let set = move |mut request: Request<IngressBody<RequestBody>>| {
            operator.set(&mut request);
            request
        };
        // What has nothing in front is not put into boxes.
        let service = match (&self.answers, &self.middleware[..]) {
            (Target::Component(pool), []) => {
                let service = InfallibleService::new(pool.clone()).map_request(set);
                return listener.serve(ingress.layer(service), limits, shutdown).await;
            }
            (Target::Upstream(upstream), []) => {
                let service = upstream.clone().map_request(set);
                return listener.serve(ingress.layer(service), limits, shutdown).await;
            }
            (Target::Component(pool), middleware) => {
                middleware::in_front(middleware, InfallibleService::new(pool.clone()))
            }
            (Target::Upstream(upstream), middleware) => {
                middleware::in_front(middleware, upstream.clone())
            }
        };
        listener.serve(ingress.layer(service.map_request(set)), limits, shutdown).await
    }

    /// Whether as many instances have started as spares are to be kept.
    pub(crate) fn is_warmed(&self) -> bool {
        self.pool().is_none_or(WasmPool::is_warmed)
    }

    /// The component's pool.
    fn pool(&self) -> Option<&WasmPool> {
        match &self.answers {
            Target::Component(pool) => Some(pool),
            Target::Upstream(_) => None,
        }
    }

    /// Returns what all instances hold.
    pub(crate) fn memory(&self) -> &MemoryAccount {
        &self.memory
    }

    /// What all pools count.
    pub(crate) fn measure(&self) -> Vec<PoolMetrics> {
        let component = self.pool().map(WasmPool::snapshot);
        let component = component.map(|snapshot| PoolMetrics { middleware: None, snapshot });
        let middleware = self.middleware.iter().enumerate().map(|(index, pool)| PoolMetrics {
            middleware: Some(index + 1),
            snapshot: pool.snapshot(),
        });
        component.into_iter().chain(middleware).collect()
    }

    /// Lets what runs come to its end until the deadline, and stops the rest.
    pub(crate) async fn drain(&self, deadline: Instant) {
        if timeout_at(deadline, self.drained()).await.is_ok() {
            return;
        }
        if let Some(pool) = self.pool() {
            pool.stop();
        }
        self.middleware.iter().for_each(HttpWasmPool::stop);
        if tokio::time::timeout(STOPPING, self.drained()).await.is_err() {
            warn!("left instances behind that did not stop");
        }
    }

    async fn drained(&self) {
        // A drain begins with the call, and goes on by itself: all of them do so at once.
        let pool = self.pool().map(WasmPool::drain);
        let middleware: Vec<_> = self.middleware.iter().map(HttpWasmPool::drain).collect();
        if let Some(pool) = pool {
            pool.await;
        }
        for drained in middleware {
            drained.await;
        }
        if let Some(pool) = self.pool() {
            pool.records_written().await;
        }
    }

    /// What is held of bodies for middleware, if there is some.
    pub(crate) fn buffers(&self) -> Option<&BufferBudget> {
        (!self.middleware.is_empty()).then_some(&self.buffers)
    }

    /// What the component's guests hold; `None` where there is no component.
    pub(crate) fn guest_io(&self) -> Option<GuestIoUsage> {
        self.pool().map(|_| self.io.usage())
    }

    /// The requests at the upstream, if there is one.
    pub(crate) fn at_upstream(&self) -> Option<Usage> {
        match &self.answers {
            Target::Component(_) => None,
            Target::Upstream(upstream) => Some(upstream.usage()),
        }
    }

    /// The requests that came so far: those that the outermost was given.
    pub(crate) fn requests(&self) -> u64 {
        match (self.middleware.first(), &self.answers) {
            (Some(pool), _) => pool.snapshot().submitted,
            (None, Target::Component(pool)) => pool.snapshot().submitted,
            (None, Target::Upstream(upstream)) => upstream.usage().taken,
        }
    }
}

/// A pool's gauges and counters.
pub(crate) struct PoolMetrics {
    /// Its number, if it is a middleware's; the outermost has 1.
    pub(crate) middleware: Option<usize>,
    pub(crate) snapshot: Snapshot,
}

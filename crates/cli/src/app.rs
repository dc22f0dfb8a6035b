//! What is served: the component, behind the middleware.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use millpond::http_wasm::HttpWasmPool;
use millpond::{InfallibleService, WasmPool};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt as _;
use tracing::warn;

use crate::admin::Measured;
use crate::error::StartError;
use crate::listen::{Limits, Listener, Outcome};
use crate::say::say;
use crate::settings::Settings;
use crate::{component, headers, middleware};

/// How long the end of instances that were told to stop is waited for.
const STOPPING: Duration = Duration::from_secs(2);

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct App {
    pool: WasmPool,
    /// The outermost first.
    middleware: Vec<HttpWasmPool>,
}

impl App {
    /// Compiles all that is to be compiled. What is wrong with one of the modules is said at once, however long
    /// another takes.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, StartError> {
        let (pool, middleware) =
            tokio::try_join!(component::pool(settings), middleware::pools(settings))?;
        if settings.component.is_none() {
            say("No component given: this is the built-in demo. Next: millpond serve app.wasm");
        }
        Ok(Self { pool, middleware })
    }

    /// Serves until `shutdown` resolves and the connections have ended. Each request first gets the operator's headers.
    pub(crate) async fn serve(
        &self,
        listener: Listener,
        operator: Vec<(HeaderName, HeaderValue)>,
        limits: Limits,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
        let set = move |mut request: Request<Incoming>| {
            headers::set(&operator, request.headers_mut());
            request
        };
        // What has nothing in front is not put into boxes.
        if self.middleware.is_empty() {
            let service = InfallibleService::new(self.pool.clone());
            return listener.serve(service.map_request(set), limits, shutdown).await;
        }
        let service = InfallibleService::new(self.pool.clone());
        let service = middleware::in_front(&self.middleware, service);
        listener.serve(service.map_request(set), limits, shutdown).await
    }

    /// Whether as many instances have started as spares are to be kept.
    pub(crate) fn is_warmed(&self) -> bool {
        self.pool.is_warmed()
    }

    /// What all pools count.
    pub(crate) fn measure(&self) -> Vec<Measured> {
        let component = Measured { middleware: None, snapshot: self.pool.snapshot() };
        let middleware = self.middleware.iter().enumerate().map(|(index, pool)| Measured {
            middleware: Some(index + 1),
            snapshot: pool.snapshot(),
        });
        std::iter::once(component).chain(middleware).collect()
    }

    /// Lets what runs come to its end until the deadline, and stops the rest.
    pub(crate) async fn drain(&self, deadline: Instant) {
        if timeout_at(deadline, self.drained()).await.is_ok() {
            return;
        }
        self.pool.stop();
        self.middleware.iter().for_each(HttpWasmPool::stop);
        if tokio::time::timeout(STOPPING, self.drained()).await.is_err() {
            warn!("left instances behind that did not stop");
        }
    }

    async fn drained(&self) {
        // A drain begins with the call, and goes on by itself: all of them do so at once.
        let pool = self.pool.drain();
        let middleware: Vec<_> = self.middleware.iter().map(HttpWasmPool::drain).collect();
        pool.await;
        for drained in middleware {
            drained.await;
        }
    }

    /// The requests that came so far: those that the outermost pool was given.
    pub(crate) fn requests(&self) -> u64 {
        match self.middleware.first() {
            Some(pool) => pool.snapshot().submitted,
            None => self.pool.snapshot().submitted,
        }
    }
}

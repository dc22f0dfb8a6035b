//! What operators and their tools ask: `/livez`, `/readyz`, `/metrics`.

mod metrics;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

use crate::app::App;
use crate::listen::Traffic;

/// Answers at `--admin`.
#[derive(Clone)]
pub(crate) struct Admin {
    app: App,
    traffic: Arc<Traffic>,
    max_connections: usize,
    draining: Arc<AtomicBool>,
}

impl Admin {
    /// Ready once as many instances have started as spares are to be kept, until `draining` is set.
    pub(crate) fn new(
        app: App,
        traffic: Arc<Traffic>,
        max_connections: usize,
        draining: Arc<AtomicBool>,
    ) -> Self {
        Self { app, traffic, max_connections, draining }
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        match path {
            "/livez" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if self.draining.load(Ordering::Relaxed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
            }
            "/readyz" if !self.app.is_warmed() => {
                (StatusCode::SERVICE_UNAVAILABLE, "making spares\n".to_owned())
            }
            "/readyz" => (StatusCode::OK, "ok\n".to_owned()),
            "/metrics" => {
                let (traffic, upstream) = (self.traffic.measure(), self.app.at_upstream());
                let pools = self.app.measure();
                let mut text = metrics::metrics(&pools, upstream, traffic, self.app.memory());
                if let Some(buffers) = self.app.buffers() {
                    metrics::buffers(&mut text, buffers);
                }
                let connections = (traffic.open, self.max_connections);
                metrics::descriptors(&mut text, connections, self.app.guest_io());
                (StatusCode::OK, text)
            }
            _ => (StatusCode::NOT_FOUND, "known: /livez, /readyz, /metrics\n".to_owned()),
        }
    }
}

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (status, text) = self.answer(request.uri().path());
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, text);
        ready(Ok(response))
    }
}

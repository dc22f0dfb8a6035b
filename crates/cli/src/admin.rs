//! What operators and their tools ask: `/livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use millpond::{Histogram, Snapshot, WasmPool};
use tower::Service;

/// Answers at `--admin`.
#[derive(Clone)]
pub(crate) struct Admin {
    pool: WasmPool,
    draining: Arc<AtomicBool>,
}

impl Admin {
    /// Ready once as many instances have started as spares are to be kept, until `draining` is set.
    pub(crate) fn new(pool: WasmPool, draining: Arc<AtomicBool>) -> Self {
        Self { pool, draining }
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        match path {
            "/livez" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if self.draining.load(Ordering::Relaxed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
            }
            "/readyz" if !self.pool.is_warmed() => {
                (StatusCode::SERVICE_UNAVAILABLE, "making spares\n".to_owned())
            }
            "/readyz" => (StatusCode::OK, "ok\n".to_owned()),
            "/metrics" => (StatusCode::OK, metrics(&self.pool.snapshot())),
            _ => (StatusCode::NOT_FOUND, "known: /livez, /readyz, /metrics\n".to_owned()),
        }
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (status, text) = self.answer(request.uri().path());
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, text);
        ready(Ok(response))
    }
}

/// The snapshot in Prometheus' text format. The labels are fixed sets: never ids, hosts or URIs.
fn metrics(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, label: &str, rows: &[(&str, u64)]| {
        let _ = writeln!(text, "# HELP millpond_{name} {help}\n# TYPE millpond_{name} {kind}");
        for (value, count) in rows {
            let _ = writeln!(text, "millpond_{name}{{{label}=\"{value}\"}} {count}");
        }
    };
    let gauge = |count: usize| count as u64;
    let requests = [
        ("queued", gauge(snapshot.queued)),
        ("starting", gauge(snapshot.starting)),
        ("busy", gauge(snapshot.busy)),
        ("streaming", gauge(snapshot.streaming)),
        ("abandoned", gauge(snapshot.abandoned)),
    ];
    family("requests", "gauge", "Requests by where they are.", "stage", &requests);
    let instances = &snapshot.instances;
    let instances = [
        ("starting", gauge(instances.starting)),
        ("busy", gauge(instances.busy)),
        ("streaming", gauge(instances.streaming)),
        ("post_return", gauge(instances.post_return)),
        ("idle", gauge(instances.idle)),
        ("retiring", gauge(instances.retiring)),
    ];
    family("instances", "gauge", "Live instances by status.", "status", &instances);
    let permits =
        [("free", gauge(snapshot.permits_free)), ("reserved", gauge(snapshot.permits_reserved))];
    family("permits", "gauge", "Places for requests.", "state", &permits);
    let outcomes = [
        ("responded", snapshot.responded),
        ("failed", snapshot.failed),
        ("refused", snapshot.refused),
        ("cancelled", snapshot.cancelled),
        ("overloaded", snapshot.overloaded),
    ];
    family("requests_total", "counter", "Requests by outcome.", "outcome", &outcomes);
    let starts = [
        ("ok", snapshot.starts.saturating_sub(snapshot.failed_starts)),
        ("failed", snapshot.failed_starts),
    ];
    family(
        "starts_total",
        "counter",
        "Instances started; failed: or given up, as when the caller left.",
        "result",
        &starts,
    );
    let retired: Vec<_> =
        snapshot.retired.iter().map(|(reason, count)| (reason.as_str(), count)).collect();
    family("retired_total", "counter", "Instances retired by reason.", "reason", &retired);
    for (name, help, value) in [
        (
            "spares",
            "Instances made ahead that wait for their first request.",
            gauge(snapshot.spares),
        ),
        (
            "pressure",
            "1 while an instance is wanted and none can be had.",
            u64::from(snapshot.pressure),
        ),
    ] {
        let _ = writeln!(
            text,
            "# HELP millpond_{name} {help}\n# TYPE millpond_{name} gauge\nmillpond_{name} {value}"
        );
    }
    let histograms = [
        (
            "queue_wait",
            "How long requests waited in the queue, of those that were handed over.",
            &snapshot.queue_wait,
        ),
        ("start_time", "How long instances took to start.", &snapshot.start_time),
        ("run_time", "How long requests ran, their bodies included.", &snapshot.run_time),
    ];
    for (name, help, times) in histograms {
        histogram(&mut text, name, help, times);
    }
    text
}

fn histogram(text: &mut String, name: &str, help: &str, times: &Histogram) {
    let name = format!("millpond_{name}_seconds");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (bound, count) in times.buckets() {
        let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {count}", bound.as_secs_f64());
    }
    let (count, sum) = (times.count(), times.sum().as_secs_f64());
    let _ = writeln!(
        text,
        "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
    );
}

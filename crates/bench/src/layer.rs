//! What an http-wasm guest costs in front of a service, beside a native tower middleware and a wasi:http component
//! that do the same: called in one thread of one process, in turn, without a network. The best of many short
//! batches, as in [`calls`](crate::calls).

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use millpond::http_wasm::{HttpWasmLayer, HttpWasmPool};
use millpond::{InfallibleService, MaxRequests, Output, WasiHost, WasmPool};
use tower::util::BoxCloneService;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use crate::Fallible;

/// Calls in a row that are timed together.
const BATCH: u32 = 500;
const BATCHES: usize = 40;
/// Requests at a time over the service that waits.
const AT_ONCE: usize = 64;

const NOOP: &str = include_str!("layer/noop.wat");
const KEPT: &str = include_str!("layer/kept.wat");
const GUARD: &str = include_str!("layer/guard.wat");

/// A service, whatever it is made of.
type Boxed = BoxCloneService<Request<Full<Bytes>>, Bytes, Infallible>;

pub(crate) fn run(rounds: usize) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        cost(rounds).await?;
        occupancy().await
    })
}

/// What each adds to a call of the bare service.
async fn cost(rounds: usize) -> Fallible<()> {
    let guard = |inner| native(inner);
    let component = WasiHost::new().output(Output::None);
    let component = WasmPool::builder(component)
        .limits(|limits| limits.max_requests = MaxRequests::unlimited())
        .from_file(env!("GUEST_GUARD_P2"))?;
    let mut kinds = [
        ("bare service", boxed(service_fn(hello))),
        ("no-op guest", boxed(layer(NOOP).await?.layer(service_fn(hello)))),
        ("no-op guest, kept for the response", boxed(layer(KEPT).await?.layer(service_fn(hello)))),
        ("guard, native", boxed(guard(service_fn(hello)))),
        ("guard, http-wasm guest", boxed(layer(GUARD).await?.layer(service_fn(hello)))),
        ("guard, wasi:http component", boxed(InfallibleService::new(component))),
    ];
    let mut best = [f64::INFINITY; 6];
    for _ in 0..rounds * BATCHES {
        for ((_, service), best) in kinds.iter_mut().zip(&mut best) {
            let begin = Instant::now();
            for _ in 0..BATCH {
                call(service).await?;
                // What is left to do after an answer is a task.
                tokio::task::yield_now().await;
            }
            *best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
        }
    }
    println!(
        "A call of a service in memory, one at a time: the best of {} batches of {BATCH}.\n",
        rounds * BATCHES
    );
    println!("{:<36} {:>8} {:>12}", "", "us", "above bare");
    for ((name, _), us) in kinds.iter().zip(best) {
        println!("{name:<36} {us:>8.2} {:>12.2}", us - best[0]);
    }
    Ok(())
}

/// How many guests it takes to guard a service that makes its callers wait.
async fn occupancy() -> Fallible<()> {
    println!("\n{AT_ONCE} requests at a time over a service that makes all of them wait:\n");
    println!("{:<36} {:>8}", "", "guests");
    for (name, module) in [("no-op guest", NOOP), ("no-op guest, kept for the response", KEPT)] {
        let pool = pool(module).await?;
        let gathered = std::sync::Arc::new(tokio::sync::Barrier::new(AT_ONCE));
        let inner = service_fn(move |request| {
            let gathered = std::sync::Arc::clone(&gathered);
            async move {
                gathered.wait().await;
                hello(request).await
            }
        });
        let service = boxed(HttpWasmLayer::new(pool.clone()).layer(inner));
        let calls = (0..AT_ONCE).map(|_| {
            let mut service = service.clone();
            async move { call(&mut service).await }
        });
        for answer in join_all(calls).await {
            answer?;
        }
        println!("{name:<36} {:>8}", pool.snapshot().starts);
    }
    Ok(())
}

async fn pool(module: &str) -> Fallible<HttpWasmPool> {
    let pool = HttpWasmPool::builder().limits(|limits| limits.max_instances = AT_ONCE);
    Ok(pool.from_bytes(module).await?)
}

async fn layer(module: &str) -> Fallible<HttpWasmLayer> {
    Ok(HttpWasmLayer::new(pool(module).await?))
}

async fn call(service: &mut Boxed) -> Fallible<()> {
    let request = Request::get("http://localhost/hello").header("x-token", "1");
    let request = request.body(Full::default())?;
    let body = service.ready().await?.call(request).await?;
    if body == "hello\n" { Ok(()) } else { Err(format!("the answer is {body:?}").into()) }
}

async fn hello<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}

/// With its body read.
fn boxed<S, B>(service: S) -> Boxed
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    service
        .and_then(async |response: Response<B>| {
            let body = response.into_body().collect().await;
            Ok(body.expect("the answer comes whole").to_bytes())
        })
        .boxed_clone()
}

/// What the guard does, by hand.
fn native<S>(inner: S) -> Native<S> {
    Native(inner)
}

#[derive(Clone)]
struct Native<S>(S);

impl<S, B> Service<Request<B>> for Native<S>
where
    S: Service<Request<B>, Response = Response<Full<Bytes>>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let clone = self.0.clone();
        let mut inner = std::mem::replace(&mut self.0, clone);
        Box::pin(async move {
            if !request.headers().contains_key("x-token") {
                let mut refused = Response::new(Full::default());
                *refused.status_mut() = StatusCode::UNAUTHORIZED;
                return Ok(refused);
            }
            request.headers_mut().insert("x-user", HeaderValue::from_static("me"));
            let mut response = inner.call(request).await?;
            response.headers_mut().insert("x-guarded", HeaderValue::from_static("1"));
            Ok(response)
        })
    }
}

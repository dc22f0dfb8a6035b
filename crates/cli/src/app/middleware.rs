//! Middleware: http-wasm guests that requests pass before they reach what is served, each with a pool of its own.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use millpond::MemoryAccount;
use millpond::expiration::{InstanceExpiration as _, memory_watermark};
use millpond::http_wasm::{
    BufferBudget, HttpWasmBuilder, HttpWasmLayer, HttpWasmPool, HttpWasmService, RequestBody,
};
use tower::util::BoxCloneService;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::app::pool::to_usize;
use crate::config::middleware::Middleware;
use crate::config::settings::Settings;
use crate::error::{BoxError, StartError};
use crate::process::status::with_progress;

/// Compiles the modules, or finds them in the cache, and makes their pools, in order.
pub(crate) async fn pools(
    settings: &Settings,
    account: &MemoryAccount,
    buffers: &BufferBudget,
) -> Result<Vec<HttpWasmPool>, StartError> {
    // What is wrong with a file is said before anything is compiled.
    let mut builders = Vec::new();
    for Middleware { module, config } in &settings.middleware {
        let config = match config {
            Some(file) => tokio::fs::read(file).await.map_err(|error| {
                let file = file.display();
                StartError::failed(format!("--middleware-config {file}: cannot read it: {error}"))
            })?,
            None => Vec::new(),
        };
        let builder = builder(settings, config, account)?.buffer_budget(buffers.clone());
        builders.push((module, builder));
    }
    let mut pools = Vec::new();
    for (module, builder) in builders {
        let built = with_progress(&module.to_string_lossy(), builder.from_file(module)).await;
        pools.push(built.map_err(|error| StartError::failed(format!("--middleware: {error}")))?);
    }
    Ok(pools)
}

fn builder(
    settings: &Settings,
    config: Vec<u8>,
    account: &MemoryAccount,
) -> Result<HttpWasmBuilder, StartError> {
    let mut builder = HttpWasmPool::builder()
        .memory_account(account)
        .config(config)
        .output(settings.output())
        .limits(|limits| {
            settings.set_limits(limits);
            let instances = settings.max_middleware_instances;
            limits.max_instances = instances.unwrap_or(limits.max_instances);
        });
    if let Some(bytes) = settings.max_memory {
        builder = builder.max_memory(to_usize(bytes));
    }
    if let Some(bytes) = settings.max_guest_output {
        builder = builder.max_output(bytes);
    }
    if let Some(bytes) = settings.instance_memory_watermark {
        builder = builder.expiration(move |policy| policy.or(memory_watermark(to_usize(bytes))));
    }
    if let Some(watch) = settings.memory_watch()? {
        builder = builder.expiration(move |policy| policy.or(watch.end_idle()));
    }
    if settings.codegen.cache == Some(false) {
        builder = builder.without_cache();
    } else if let Some(file) = &settings.codegen.cache_config {
        builder = builder.cache_config(file);
    }
    Ok(builder)
}

/// Returns the budget for the bodies that all middleware together may buffer.
pub(crate) fn buffers(settings: &Settings) -> BufferBudget {
    let bytes = settings.max_middleware_buffer;
    bytes.map_or_else(BufferBudget::default, |bytes| BufferBudget::new(to_usize(bytes)))
}

/// The service behind some middleware, type-erased.
type Inner = BoxCloneService<Request<RequestBody>, Response<DynBody>, Infallible>;
type DynBody = UnsyncBoxBody<Bytes, BoxError>;

/// Puts pools, of which there is at least one, in front of a service; the first of them is outermost.
pub(crate) fn in_front<S, R>(pools: &[HttpWasmPool], service: S) -> HttpWasmService<Inner>
where
    S: Service<Request<RequestBody>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (outermost, others) = pools.split_first().expect("the caller has seen that there is one");
    let inner = others
        .iter()
        .rev()
        .fold(boxed(service), |inner, pool| boxed(HttpWasmLayer::new(pool.clone()).layer(inner)));
    HttpWasmLayer::new(outermost.clone()).layer(inner)
}

fn boxed<S, R>(service: S) -> Inner
where
    S: Service<Request<RequestBody>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let response =
        |response: Response<R>| response.map(|body| body.map_err(Into::into).boxed_unsync());
    BoxCloneService::new(service.map_response(response))
}

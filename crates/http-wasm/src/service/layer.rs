//! The layer, and the service that it makes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use millpond_pool_core::Reserve;
use millpond_tower_adapter::response;
use tower::{Layer, Service};

use crate::instance::driver::GuestDriver;
use crate::message::body_buffer::BoxError;
use crate::message::forward::RequestBody;
use crate::pool::{HttpWasmPool, Permit};
use crate::service::body::ResponseBody;
use crate::service::handle::{Failure, HandleRequest};

/// Puts a guest in front of a service: each request gets one of the pool's guests for itself, from
/// `handle_request` to `handle_response`, however long the service takes in between.
///
/// What the guest cannot do, the client learns: 500 if it traps, 503 if none can be had, 504 if it takes
/// too long, as [`response`](millpond_tower_adapter::response) says; and where the head of the response
/// is out already, a body that breaks off.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use millpond_http_wasm::{HttpWasmLayer, HttpWasmPool, RequestBody};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// // Answers what has no token itself.
/// let guard = r#"(module
///     (import "http_handler" "get_header_values"
///         (func $values (param i32 i32 i32 i32 i32) (result i64)))
///     (import "http_handler" "set_status_code" (func $status (param i32)))
///     (memory (export "memory") 1)
///     (data (i32.const 0) "authorization")
///     (func (export "handle_request") (result i64)
///         (call $values (i32.const 0) (i32.const 0) (i32.const 13) (i32.const 64) (i32.const 64))
///         (if (i64.eqz) (then (call $status (i32.const 401)) (return (i64.const 0))))
///         (i64.const 1))
///     (func (export "handle_response") (param i32 i32)))"#;
/// let pool = HttpWasmPool::builder().without_cache().from_bytes(guard).await?;
///
/// let inner = service_fn(async |_: Request<RequestBody>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("hello")))
/// });
/// let service = HttpWasmLayer::new(pool).layer(inner);
///
/// let refused = service.clone().oneshot(Request::new(Full::<Bytes>::default())).await?;
/// assert_eq!(refused.status(), 401);
/// let allowed = Request::get("/").header("authorization", "me").body(Full::<Bytes>::default())?;
/// assert_eq!(service.oneshot(allowed).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpWasmLayer {
    pool: HttpWasmPool,
    waits: bool,
}

impl HttpWasmLayer {
    /// A layer whose service is ready when the inner one is, and answers 503 at once where the pool has no
    /// place: fit for axum, which waits for no service.
    pub fn new(pool: HttpWasmPool) -> Self {
        Self { pool, waits: false }
    }

    /// A layer whose service is ready once it has a place in the pool too: what is in front of it feels the
    /// backpressure.
    ///
    /// ```
    /// # fn with(guard: millpond_http_wasm::HttpWasmPool) {
    /// use millpond_http_wasm::HttpWasmLayer;
    /// use tower::ServiceBuilder;
    ///
    /// // What is in front, a `LoadShed` or a `ConcurrencyLimit` say, sees when there is no place.
    /// let layers = ServiceBuilder::new().layer(HttpWasmLayer::with_backpressure(guard));
    /// # drop(layers);
    /// # }
    /// ```
    pub fn with_backpressure(pool: HttpWasmPool) -> Self {
        Self { pool, waits: true }
    }
}

impl<S> Layer<S> for HttpWasmLayer {
    type Service = HttpWasmService<S>;

    fn layer(&self, inner: S) -> HttpWasmService<S> {
        let place = if self.waits { Place::Wanted } else { Place::NotAwaited };
        HttpWasmService { pool: self.pool.clone(), inner, place }
    }
}

impl fmt::Debug for HttpWasmLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWasmLayer").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// A service behind a guest. Made by [`HttpWasmLayer`].
pub struct HttpWasmService<S> {
    pool: HttpWasmPool,
    inner: S,
    place: Place,
}

enum Place {
    /// Readiness does not depend on it.
    NotAwaited,
    Wanted,
    Awaited(Pin<Box<Reserve<GuestDriver>>>),
    Reserved(Permit),
    /// The pool drains: the request that comes is told so.
    Refused,
}

impl<S> HttpWasmService<S> {
    /// The guests' pool.
    pub fn pool(&self) -> &HttpWasmPool {
        &self.pool
    }

    /// The service behind the guest.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.place = match &mut self.place {
                Place::NotAwaited | Place::Reserved(_) | Place::Refused => return Poll::Ready(()),
                Place::Wanted => Place::Awaited(Box::pin(self.pool.reserve())),
                Place::Awaited(reserve) => match ready!(reserve.as_mut().poll(cx)) {
                    Ok(permit) => Place::Reserved(permit),
                    Err(_) => Place::Refused,
                },
            }
        }
    }
}

impl<S, B, R> Service<Request<B>> for HttpWasmService<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        self.poll_place(cx).map(Ok)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let waiting = match std::mem::replace(&mut self.place, Place::Wanted) {
            Place::Reserved(permit) => Ok(self.pool.submit(permit)),
            place => {
                if let Place::NotAwaited = place {
                    self.place = place;
                }
                self.pool.try_submit()
            }
        };
        // The one that is ready, not its clone.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let pool = self.pool.clone();
        Box::pin(async move {
            let (version, head) = (request.version(), request.method() == Method::HEAD);
            let request = request.map(|body| {
                (!body.is_end_stream()).then(|| body.map_err(Into::into).boxed_unsync())
            });
            match (HandleRequest { pool, inner, head }).run(waiting, request).await {
                Ok(response) => Ok(response),
                Err(Failure::Inner(error)) => Err(error),
                Err(Failure::Guest(error)) => {
                    let answer = response::from_error(&error, version);
                    let answer = if head { response::without_body(answer) } else { answer };
                    Ok(answer.map(ResponseBody::own))
                }
            }
        })
    }
}

impl<S: Clone> Clone for HttpWasmService<S> {
    fn clone(&self) -> Self {
        let place =
            if let Place::NotAwaited = self.place { Place::NotAwaited } else { Place::Wanted };
        Self { pool: self.pool.clone(), inner: self.inner.clone(), place }
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpWasmService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpWasmService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

//! The service that is always ready, and answers whatever happens.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{Either, Full};
use millpond_pool_core::{Error, ErrorKind, Serve};
use pin_project_lite::pin_project;
use tower::Service;
use tower::load::Load;

use crate::response;

/// A pool as a [`tower::Service`] that never fails: fit for axum's `Router::fallback_service` and
/// `nest_service`, which call a fresh clone for each request and never wait for it.
///
/// Without a free permit the answer is 503 at once; see [`response`](crate::response) for the others.
pub struct InfallibleService<P, B> {
    pool: P,
    body: PhantomData<fn(B)>,
}

impl<P, B> InfallibleService<P, B> {
    /// A service of this pool.
    pub fn new(pool: P) -> Self {
        Self { pool, body: PhantomData }
    }

    /// The pool.
    pub fn pool(&self) -> &P {
        &self.pool
    }
}

impl<P, B, R> Service<Request<B>> for InfallibleService<P, B>
where
    P: Serve<Request<B>, Response = Response<R>, Error = Error>,
{
    type Response = Response<Either<R, Full<Bytes>>>;
    type Error = Infallible;
    type Future = InfallibleFuture<P::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let version = request.version();
        let head = request.method() == Method::HEAD;
        let state = match self.pool.try_serve(request) {
            Ok(future) => State::Serving { future },
            Err(error) => {
                if error.kind() == ErrorKind::Overloaded {
                    self.pool.record_rejection();
                }
                State::Refused { error: Some(error) }
            }
        };
        InfallibleFuture { state, version, head }
    }
}

impl<P, B> Load for InfallibleService<P, B>
where
    P: Serve<Request<B>>,
{
    type Metric = usize;

    /// Requests between submission and the end of their body.
    fn load(&self) -> usize {
        self.pool.load()
    }
}

impl<P: Clone, B> Clone for InfallibleService<P, B> {
    fn clone(&self) -> Self {
        Self::new(self.pool.clone())
    }
}

impl<P, B> fmt::Debug for InfallibleService<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InfallibleService")
    }
}

pin_project! {
    /// The answer of an [`InfallibleService`]. Dropping it cancels the request.
    #[must_use = "futures do nothing unless polled"]
    pub struct InfallibleFuture<F> {
        #[pin]
        state: State<F>,
        version: Version,
        head: bool,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Serving { #[pin] future: F },
        Refused { error: Option<Error> },
    }
}

impl<F, R> Future for InfallibleFuture<F>
where
    F: Future<Output = Result<Response<R>, Error>>,
{
    type Output = Result<Response<Either<R, Full<Bytes>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.state.project() {
            StateProjection::Serving { future } => ready!(future.poll(cx)),
            StateProjection::Refused { error } => {
                Err(error.take().expect("polled after it was ready"))
            }
        };
        Poll::Ready(Ok(match result {
            Ok(response) => response.map(Either::Left),
            Err(error) => {
                let response = response::from_error(&error, *this.version);
                let response = if *this.head { response::without_body(response) } else { response };
                response.map(Either::Right)
            }
        }))
    }
}

impl<F> fmt::Debug for InfallibleFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InfallibleFuture")
    }
}

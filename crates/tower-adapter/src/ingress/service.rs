//! The service that a request passes first, and its response last.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderName, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::{Either, Full};
use millpond_pool_core::Error;
use pin_project_lite::pin_project;
use tower::Service;

use super::{IngressBody, Rules};
use crate::response;

/// A service behind an [`Ingress`](super::Ingress), which makes it.
#[derive(Clone)]
pub struct IngressService<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> IngressService<S> {
    pub(super) fn new(rules: Arc<Rules>, inner: S) -> Self {
        Self { rules, inner }
    }

    /// Returns the service behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for IngressService<S>
where
    S: Service<Request<IngressBody<B>>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<Either<IngressBody<R>, Full<Bytes>>>;
    type Error = S::Error;
    type Future = IngressFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let state = match self.rules.admit(&mut request) {
            Ok(()) => State::Admitted {
                future: self.inner.call(request.map(IngressBody::of_request)),
                strip: self.rules.strip.clone(),
            },
            Err(error) => {
                let head = request.method() == Method::HEAD;
                State::Refused { response: Some(refuse(&error, request.version(), head)) }
            }
        };
        IngressFuture { state }
    }
}

/// What the client is told. Whatever follows on the connection is best not read: it may be the rest of what was refused.
fn refuse(error: &Error, version: Version, head: bool) -> Response<Full<Bytes>> {
    let mut response = response::from_error(error, version);
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if head { response::without_body(response) } else { response }
}

impl<S: fmt::Debug> fmt::Debug for IngressService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngressService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of an [`IngressService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct IngressFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Admitted { #[pin] future: F, strip: Option<Arc<[HeaderName]>> },
        Refused { response: Option<Response<Full<Bytes>>> },
    }
}

impl<F, R, E> Future for IngressFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<Either<IngressBody<R>, Full<Bytes>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Admitted { future, strip } => {
                let mut response = ready!(future.poll(cx))?;
                let strip = strip.take();
                for name in strip.iter().flat_map(|names| &**names) {
                    response.headers_mut().remove(name);
                }
                Poll::Ready(Ok(
                    response.map(|body| Either::Left(IngressBody::of_response(body, strip)))
                ))
            }
            StateProjection::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(Either::Right)))
            }
        }
    }
}

impl<F> fmt::Debug for IngressFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IngressFuture")
    }
}

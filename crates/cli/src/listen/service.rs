//! What each request passes on its way to the service, and its response on the way back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use millpond::SourceAddr;
use millpond::{Error, ErrorKind, response};
use pin_project_lite::pin_project;
use tower::Service;
use tower::util::Oneshot;

use super::metered_body::ResponseBody;
use super::request_body::{BodyLimits, RequestBody, WasCut};
use super::traffic::{Connection, Meter};
use crate::error::BoxError;

/// The service of one connection, as hyper wants it.
pub(crate) struct Served<S> {
    service: S,
    peer: SocketAddr,
    limits: BodyLimits,
    connection: Arc<Connection>,
}

impl<S> Served<S> {
    pub(crate) fn new(
        service: S,
        peer: SocketAddr,
        limits: BodyLimits,
        connection: Arc<Connection>,
    ) -> Self {
        Self { service, peer, limits, connection }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Served<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<ResponseBody<Either<B, Full<Bytes>>>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(SourceAddr(self.peer));
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        // Now and not in the future: the executor takes the stream as soon as this returns.
        let meter = if version == Version::HTTP_2 {
            Meter::Http2(self.connection.open_stream())
        } else {
            self.connection.received();
            Meter::Http1(Arc::clone(&self.connection))
        };
        let mut cut = None;
        let request = request.map(|body| {
            let (body, was_cut) = RequestBody::new(body, self.limits, &self.connection);
            cut = was_cut;
            body
        });
        let answer = Oneshot::new(self.service.clone(), request);
        Answer { answer, meter: Some(meter), cut, version, is_head }
    }
}

pin_project! {
    /// One request's way.
    pub(crate) struct Answer<S: Service<Request<RequestBody>>> {
        #[pin]
        answer: Oneshot<S, Request<RequestBody>>,
        meter: Option<Meter>,
        cut: Option<WasCut>,
        version: Version,
        is_head: bool,
    }
}

impl<S, B> Future for Answer<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Output = Result<Response<ResponseBody<Either<B, Full<Bytes>>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        let meter = this.meter.take().expect("polled once it was ready");
        let response = if this.cut.as_ref().is_some_and(WasCut::get) {
            // It may do something else about it by itself, but it is not the service that has failed.
            *this.cut = None;
            timed_out(*this.version, *this.is_head).map(Either::Right)
        } else {
            response.map(Either::Left)
        };
        let cut = this.cut.take();
        Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, meter, cut))))
    }
}

/// Says that the request's body did not come in time.
fn timed_out(version: Version, is_head: bool) -> Response<Full<Bytes>> {
    let error = Error::new(ErrorKind::BadRequest).with_status(StatusCode::REQUEST_TIMEOUT.as_u16());
    let error = error.with_source("the request's body came too slowly");
    let mut response = response::from_error(&error, version);
    if version < Version::HTTP_2 {
        // What is left of the body is not waited for.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_head { response::without_body(response) } else { response }
}

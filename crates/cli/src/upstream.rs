//! `--upstream URL`: an existing HTTP server answers the requests, in place of a component.
//!
//! Requests go there over HTTP/1.1, on connections that are kept; bodies stream both ways. [`ConcurrencyLimit`] bounds
//! what is held for them. A client that the server keeps waiting for longer than `--request-timeout` gets a 504.

mod body;
mod head;
mod limit;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use millpond::{Error, ErrorKind, LogRate, response, unlogged};
use tower::Service;

pub(crate) use limit::Usage;

use crate::config::origin::Origin;
use crate::config::settings::Settings;
use crate::error::BoxError;
use body::StallGuard;
use limit::ConcurrencyLimit;

/// For a response head, as for the guests of a pool.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection is kept that has nothing to do: less than servers keep theirs (Node 5 s), as a request that
/// meets its end is lost.
const IDLE: Duration = Duration::from_secs(4);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that are read ahead from a connection. A response head may have as many, and what the last read brought.
const BUFFER: usize = 64 * 1024;

/// The server in place of a component. Clones are the same, with the same connections.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Shared>);

struct Shared {
    origin: Origin,
    client: Client<HttpConnector, UnsyncBoxBody<Bytes, BoxError>>,
    limit: ConcurrencyLimit,
    timeout: Duration,
}

impl Upstream {
    /// Nothing is connected yet, and the server need not be there yet. It has so many `descriptors` for connections.
    pub(crate) fn new(origin: Origin, settings: &Settings, descriptors: usize) -> Self {
        let limit = ConcurrencyLimit::new(settings, descriptors / 2);
        let mut connector = HttpConnector::new();
        // A small write must not wait for the answer to the last one.
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            // Those that are busy have the other half.
            .pool_max_idle_per_host((descriptors / 2).max(1))
            .http1_max_buf_size(BUFFER)
            .build(connector);
        Self(Arc::new(Shared {
            origin,
            client,
            limit,
            timeout: settings.request_timeout.unwrap_or(REQUEST_TIMEOUT),
        }))
    }

    /// The requests that are under way.
    pub(crate) fn usage(&self) -> Usage {
        self.0.limit.usage()
    }
}

impl Shared {
    async fn forward<B>(&self, request: Request<B>) -> Result<Response<StallGuard>, Error>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if request.method() == Method::CONNECT {
            // A tunnel would go past the middleware.
            let error = Error::new(ErrorKind::BadRequest).with_status(501);
            return Err(error.with_source("there are no tunnels here").not_started());
        }
        let request = head::for_upstream(request, &self.origin)?;
        let seat = self.limit.take().await?;
        let sent = self.client.request(request.map(|body| body.map_err(Into::into).boxed_unsync()));
        let answered = tokio::time::timeout(self.timeout, sent).await;
        let answered = answered.map_err(|_| Error::new(ErrorKind::RequestTimeout))?;
        let response = answered.map_err(|error| {
            let kind = if is_callers(&error) { ErrorKind::BadRequest } else { ErrorKind::Upstream };
            Error::new(kind).with_source(error)
        })?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // The request did not ask for this, and what would follow is not HTTP.
            let error = Error::new(ErrorKind::Upstream);
            return Err(error.with_source("it switches to another protocol, unasked"));
        }
        let response = head::for_client(response)?;
        Ok(response.map(|body| StallGuard::new(body, seat)))
    }

    fn log(&self, error: &Error) {
        static LINES: LogRate = LogRate::new(20, Duration::from_secs(1));
        let upstream = self.origin.as_str();
        let cause = causes(error);
        let what = match error.kind() {
            ErrorKind::Upstream => format!("no response: {cause}"),
            ErrorKind::RequestTimeout => format!("no response head within {:?}", self.timeout),
            _ => return tracing::debug!(upstream, "a request was refused: {cause}"),
        };
        if let Some(others) = LINES.allow() {
            tracing::warn!(upstream, unlogged = unlogged(others), "{what}");
        }
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Either<StallGuard, Full<Bytes>>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let upstream = Arc::clone(&self.0);
        let (version, head) = (request.version(), request.method() == Method::HEAD);
        Box::pin(async move {
            let error = match upstream.forward(request).await {
                Ok(response) => return Ok(response.map(Either::Left)),
                Err(error) => error,
            };
            upstream.log(&error);
            let response = response::from_error(&error, version);
            let response = if head { response::without_body(response) } else { response };
            Ok(response.map(Either::Right))
        })
    }
}

/// Whether it was the request that broke off.
fn is_callers(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    chain.any(|error| error.downcast_ref().is_some_and(hyper::Error::is_user))
}

/// What led to it, from the outside in.
fn causes(error: &Error) -> String {
    let first = std::error::Error::source(error);
    let chain = std::iter::successors(first, |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

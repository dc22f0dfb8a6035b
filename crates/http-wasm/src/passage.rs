//! One request's way through its guest, the service behind it, and back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body::{Body, Frame};
use millpond_pool_core::{Error, ErrorKind};
use tower::Service;

use crate::body::{Ending, Listener, RequestBody, ResponseBody};
use crate::content::{BoxError, ContentError, Incoming};
use crate::exchange::Exchange;
use crate::lease::{GuestLease, lease};
use crate::merge::{announce, merge, unframe};
use crate::pool::{HttpWasmPool, Waiting};

pub(crate) struct Passage<S> {
    pub(crate) pool: HttpWasmPool,
    /// Ready to be called.
    pub(crate) inner: S,
    /// The answer has no body.
    pub(crate) head: bool,
}

/// Why there is no response.
pub(crate) enum Failure<E> {
    /// The guest, or the host on its behalf.
    Guest(Error),
    /// The service behind it.
    Inner(E),
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Self::Guest(error)
    }
}

impl<S, R> Passage<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    pub(crate) async fn pass(
        mut self,
        waiting: Result<Waiting, Error>,
        request: Request<Option<Incoming>>,
    ) -> Result<Response<ResponseBody<R>>, Failure<S::Error>> {
        let (submitted, desk) = waiting?;
        let (parts, body) = request.into_parts();
        let source = self.pool.source(&parts.extensions);
        let exchange = Box::new(Exchange::new(parts, body, source, self.pool.max_body()));

        let mut lease = lease(submitted, desk).await?;
        let (ctx_next, mut exchange) = lease.handle_request(exchange).await?;
        if !ctx_next.next() {
            lease.finish().await?;
            return Ok(self.own_answer(&mut exchange));
        }
        let traits = lease.traits();
        let lease = if traits.passes_responses {
            // It has nothing to do with the response: others may have it by now.
            lease.finish().await?;
            None
        } else {
            lease.pin();
            Some(lease)
        };
        let keep = traits.looks && lease.is_some();
        let answered = self.inner.call(exchange.next_request(keep)).await;
        exchange.begin_response();
        let mut back = Back { lease, ctx: ctx_next.ctx(), exchange };
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                back.tell_failure().await;
                return Err(Failure::Inner(error));
            }
        };
        let (mut parts, body) = response.into_parts();
        merge(&mut back.exchange.response, &mut parts);
        Ok(back.answer(parts, Box::pin(body), self.head).await?)
    }

    /// What the guest answers in place of the service.
    fn own_answer(&self, exchange: &mut Exchange) -> Response<ResponseBody<R>> {
        let mut response = Response::new(());
        let status = exchange.response.status.unwrap_or(StatusCode::OK);
        *response.status_mut() = status;
        *response.headers_mut() = std::mem::take(&mut exchange.response.headers);
        let length = exchange.response_body.written_len();
        let headers = response.headers_mut();
        if !self.head || length.is_some() {
            unframe(headers);
        }
        if let Some(length) = length.filter(|_| self.head && !has_no_body(false, status)) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        announce(headers, exchange.response_body.trailers.known());
        passed_on(response.into_parts().0, exchange, None, self.head)
    }
}

/// What comes first of a response's body, if it is there.
struct Peeked {
    chunk: Option<Bytes>,
    trailers: Option<HeaderMap>,
    left: Left,
}

/// What may be left of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes,
    Trailers,
    Nothing,
}

async fn peek<R>(body: &mut Pin<Box<R>>, length: Option<u64>) -> Result<Peeked, BoxError>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let peeked = |chunk, trailers, left| Peeked { chunk, trailers, left };
    let polled = poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await;
    let Poll::Ready(frame) = polled else { return Ok(peeked(None, None, Left::Bytes)) };
    Ok(match frame.transpose().map_err(Into::into)?.map(Frame::into_data) {
        None => peeked(None, None, Left::Nothing),
        Some(Ok(data)) => {
            let left = if body.is_end_stream() {
                Left::Nothing
            } else if length == Some(data.len() as u64) {
                Left::Trailers
            } else {
                Left::Bytes
            };
            peeked(Some(data), None, left)
        }
        Some(Err(frame)) => peeked(None, frame.into_trailers().ok(), Left::Nothing),
    })
}

fn has_no_body(head: bool, status: StatusCode) -> bool {
    head || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The way back: the guest that waits, if it still does, and what it is to see.
struct Back {
    lease: Option<GuestLease>,
    ctx: u32,
    exchange: Box<Exchange>,
}

impl Back {
    /// What the service answers, on its way through the guest.
    async fn answer<R>(
        mut self,
        mut parts: response::Parts,
        mut body: Pin<Box<R>>,
        head: bool,
    ) -> Result<Response<ResponseBody<R>>, Error>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let content = &mut self.exchange.response_body;
        let written = content.written_len().is_some_and(|written| written > 0);
        if written || parts.status == StatusCode::NO_CONTENT {
            unframe(&mut parts.headers);
        }
        content.settle_written();
        announce(&mut parts.headers, content.trailers.known());
        if self.lease.is_none() {
            return Ok(passed_on(parts, &mut self.exchange, Some(body), head));
        }
        if self.exchange.buffers_response() {
            if let Err(error) = self.collect(&mut body).await {
                self.tell_failure().await;
                return Err(error);
            }
            return self.rewrite(parts, head).await;
        }
        let no_body = has_no_body(head, parts.status);
        let remaining = content_length(&parts.headers);
        let left = if no_body || body.is_end_stream() {
            Left::Nothing
        } else {
            match peek(&mut body, remaining).await {
                Ok(peeked) => self.take(peeked),
                Err(error) => {
                    self.tell_failure().await;
                    return Err(Error::new(ErrorKind::Upstream).with_source(error));
                }
            }
        };
        if left == Left::Bytes {
            return self.stream(parts, body, remaining).await;
        }
        self.show_head(&parts);
        let mut exchange = self.finish(false).await?;
        // Of a body that is not sent, the server is not to think otherwise.
        let rest = (no_body || left == Left::Trailers).then_some(body);
        Ok(passed_on(parts, &mut exchange, rest, head))
    }

    /// Makes the guest's last call, and gives it back to the pool.
    async fn finish(self, error: bool) -> Result<Box<Exchange>, Error> {
        let Self { lease, ctx, exchange } = self;
        let Some(mut lease) = lease else { return Ok(exchange) };
        let exchange = lease.handle_response(exchange, ctx, error).await?;
        lease.finish().await?;
        Ok(exchange)
    }

    /// Tells the guest that there is no response. What it makes of that, nobody sees.
    async fn tell_failure(self) {
        let _ = self.finish(true).await;
    }

    /// What the guest sees of a response's head when it is called.
    fn show_head(&mut self, parts: &response::Parts) {
        if self.lease.as_ref().is_some_and(|lease| lease.traits().looks) {
            self.exchange.response.headers.clone_from(&parts.headers);
        }
    }

    /// Takes what has come of the response's body, and says what may be left.
    fn take(&mut self, peeked: Peeked) -> Left {
        let content = &mut self.exchange.response_body;
        if let Some(chunk) = peeked.chunk {
            content.append(chunk);
        }
        if peeked.left == Left::Nothing {
            content.trailers.arrive(peeked.trailers);
        }
        peeked.left
    }

    /// Waits for all of a response's body.
    async fn collect<R>(&mut self, body: &mut Pin<Box<R>>) -> Result<(), Error>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let upstream = |source: BoxError| Error::new(ErrorKind::Upstream).with_source(source);
        let content = &mut self.exchange.response_body;
        let mut trailers = None;
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            match frame.map_err(|error| upstream(error.into()))?.into_data() {
                Ok(data) => {
                    content.push(data).map_err(|error: ContentError| upstream(error.into()))?
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        content.trailers.arrive(trailers);
        Ok(())
    }

    /// Lets the guest change a response that is all there.
    async fn rewrite<R>(
        mut self,
        mut parts: response::Parts,
        head: bool,
    ) -> Result<Response<ResponseBody<R>>, Error> {
        let length = parts.headers.get(CONTENT_LENGTH).cloned();
        self.exchange.response.headers = std::mem::take(&mut parts.headers);
        let mut exchange = self.finish(false).await?;
        parts.status = exchange.response.status.unwrap_or(parts.status);
        parts.headers = std::mem::take(&mut exchange.response.headers);
        // Whatever the guest says of it: what is sent has the length that it has.
        unframe(&mut parts.headers);
        if has_no_body(head, parts.status) && parts.status != StatusCode::NO_CONTENT {
            let length = match exchange.response_body.written_len() {
                Some(written) => head.then(|| written.into()),
                None => length,
            };
            parts.headers.extend(length.map(|length| (CONTENT_LENGTH, length)));
        }
        announce(&mut parts.headers, exchange.response_body.trailers.known());
        Ok(passed_on(parts, &mut exchange, None, head))
    }

    /// Sends the response on as it comes. The guest is called when it ends.
    async fn stream<R>(
        mut self,
        parts: response::Parts,
        body: Pin<Box<R>>,
        remaining: Option<u64>,
    ) -> Result<Response<ResponseBody<R>>, Error> {
        if let Some(lease) = &mut self.lease {
            lease.respond().await?;
        }
        self.show_head(&parts);
        let (chunks, _) = self.exchange.response_body.pass_on();
        let trailers = self.exchange.take_response_trailers();
        let body = ResponseBody::leased(chunks, body, trailers, remaining, self);
        Ok(Response::from_parts(parts, body))
    }
}

/// A response with which the guest has nothing to do any more.
fn passed_on<R>(
    parts: response::Parts,
    exchange: &mut Exchange,
    rest: Option<Pin<Box<R>>>,
    head: bool,
) -> Response<ResponseBody<R>> {
    let (chunks, _) = exchange.response_body.pass_on();
    let trailers = exchange.take_response_trailers();
    let body = if has_no_body(head, parts.status) {
        // hyper takes it off for HTTP/1, but not for HTTP/2. Of one that HEAD does not get, the server asks
        // the service's body how long it is.
        ResponseBody::new(Default::default(), rest.filter(|_| head), Default::default())
    } else {
        ResponseBody::new(chunks, rest, trailers)
    };
    Response::from_parts(parts, body)
}

impl Listener for Back {
    fn progress(&self) {
        if let Some(lease) = &self.lease {
            lease.progress();
        }
    }

    fn end(mut self: Box<Self>, error: bool, trailers: Option<HeaderMap>) -> Ending {
        Box::pin(async move {
            self.exchange.response_body.trailers.arrive(trailers);
            self.finish(error).await.map(drop).map_err(Into::into)
        })
    }
}

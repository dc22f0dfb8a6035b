//! The way back of a response, through the guest that waits for it, if one still does.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, response};
use http_body::{Body, Frame};
use millpond_pool_core::{Error, ErrorKind};

use crate::instance::lease::GuestLease;
use crate::message::body_buffer::{BodyBufferError, BoxError};
use crate::message::content_length::LengthChecked;
use crate::message::exchange::Exchange;
use crate::message::forward::Forward;
use crate::message::framing::{declare_trailers, set_length, strip_framing};
use crate::message::merge::merge;
use crate::service::body::{Ending, ResponseBody};

/// The guest that waits, if it still does, and what it is to see.
pub(crate) struct SecondCall {
    lease: Option<GuestLease>,
    ctx: u32,
    exchange: Box<Exchange>,
}

/// What may be left of a body of which the first piece has been looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes,
    Trailers,
    Nothing,
}

impl SecondCall {
    pub(crate) fn new(lease: Option<GuestLease>, ctx: u32, mut exchange: Box<Exchange>) -> Self {
        exchange.begin_response();
        Self { lease, ctx, exchange }
    }

    /// What the service answers, on its way through the guest. `bodiless`: it has no body whatever its head
    /// says; `head`: the client gets none.
    pub(crate) async fn answer<R>(
        mut self,
        mut parts: response::Parts,
        mut body: LengthChecked<R>,
        bodiless: bool,
        head: bool,
    ) -> Result<Response<ResponseBody<R>>, Error>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if let Err(error) = merge(&mut self.exchange.response, &mut parts) {
            return self.fail(error.into()).await;
        }
        let no_body = has_no_body(head, parts.status);
        let content = &mut self.exchange.response_body;
        let written = content.written_len().is_some_and(|written| written > 0);
        // By what the guest has changed, one without a body may come to have one: an empty one.
        let anew = bodiless && !no_body;
        if written || anew || parts.status == StatusCode::NO_CONTENT {
            strip_framing(&mut parts.headers);
        }
        content.settle_written();
        declare_trailers(&mut parts.headers, content.trailers.known());
        if self.lease.is_none() {
            return Ok(passed_on(parts, &mut self.exchange, Some(body), head));
        }
        if self.exchange.buffers_response() {
            return match self.collect(&mut body).await {
                Ok(()) => self.rewrite(parts, head).await,
                Err(error) => self.fail(error).await,
            };
        }
        let left = if no_body || body.is_end_stream() {
            Left::Nothing
        } else {
            match self.peek(&mut body).await {
                Ok(left) => left,
                Err(error) => return self.fail(error).await,
            }
        };
        if left == Left::Bytes {
            return self.stream(parts, body).await;
        }
        self.show_head(&parts);
        let mut exchange = self.finish(false).await?;
        // Keep the unsent body so that the server sees the right length.
        let rest = (no_body || left == Left::Trailers).then_some(body);
        Ok(passed_on(parts, &mut exchange, rest, head))
    }

    /// Tells the guest that there is no response. What it makes of that is not sent.
    pub(crate) async fn tell_failure(self) {
        let _ = self.finish(true).await;
    }

    /// Nothing can be made of what the service answers.
    async fn fail<T>(self, error: BoxError) -> Result<T, Error> {
        self.tell_failure().await;
        let kind = match error.downcast_ref() {
            Some(BodyBufferError::Full) => ErrorKind::ResourcesExhausted,
            _ => ErrorKind::Upstream,
        };
        Err(Error::new(kind).with_source(error))
    }

    /// Makes the guest's last call, and gives it back to the pool.
    async fn finish(self, error: bool) -> Result<Box<Exchange>, Error> {
        let Self { lease, ctx, exchange } = self;
        let Some(mut lease) = lease else { return Ok(exchange) };
        let exchange = lease.handle_response(exchange, ctx, error).await?;
        lease.finish().await?;
        Ok(exchange)
    }

    /// What the guest sees of a response's head when it is called.
    fn show_head(&mut self, parts: &response::Parts) {
        if self.lease.as_ref().is_some_and(|lease| lease.info().sees_heads) {
            self.exchange.response.headers.clone_from(&parts.headers);
        }
    }

    /// Takes what has come of the response's body, without waiting, and says what may be left.
    async fn peek<R>(&mut self, body: &mut LengthChecked<R>) -> Result<Left, BoxError>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let content = &mut self.exchange.response_body;
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
        let mut left = Left::Bytes;
        if let Poll::Ready(frame) = polled {
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => content.append(data),
                Some(Err(frame)) => {
                    content.trailers.arrive(frame.into_trailers().ok());
                    left = Left::Nothing;
                }
                None => left = Left::Nothing,
            }
        }
        if left == Left::Nothing || body.is_end_stream() {
            content.trailers.arrive(None);
            return Ok(Left::Nothing);
        }
        // A server that knows its length may ask for nothing more than its bytes.
        Ok(if body.is_all() { Left::Trailers } else { Left::Bytes })
    }

    /// Waits for all of a response's body.
    async fn collect<R>(&mut self, body: &mut LengthChecked<R>) -> Result<(), BoxError>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let Exchange { response_body: content, buffers, .. } = &mut *self.exchange;
        let mut trailers = None;
        loop {
            let polled = poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
                // All bytes were received; do not wait for the end of the stream.
                Poll::Pending if body.is_all() => Poll::Ready(None),
                polled => polled,
            });
            let Some(frame) = polled.await else { break };
            match frame?.into_data() {
                Ok(data) => content.push(data, buffers)?,
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
    ) -> Result<Response<ResponseBody<R>>, Error>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let length = parts.headers.get(CONTENT_LENGTH).cloned();
        self.exchange.response.headers = std::mem::take(&mut parts.headers);
        let mut exchange = self.finish(false).await?;
        parts.status = exchange.response.status.unwrap_or(parts.status);
        parts.headers = std::mem::take(&mut exchange.response.headers);
        // Whatever the guest says of it: what is sent has the length that it has.
        strip_framing(&mut parts.headers);
        if has_no_body(head, parts.status) && parts.status != StatusCode::NO_CONTENT {
            let length = match exchange.response_body.written_len() {
                Some(written) => head.then(|| written.into()),
                None => length,
            };
            if let Some(length) = length {
                set_length(&mut parts.headers, length);
            }
        }
        declare_trailers(&mut parts.headers, exchange.response_body.trailers.known());
        Ok(passed_on(parts, &mut exchange, None, head))
    }

    /// Sends the response on as it comes. The guest is called when it ends.
    async fn stream<R>(
        mut self,
        parts: response::Parts,
        body: LengthChecked<R>,
    ) -> Result<Response<ResponseBody<R>>, Error>
    where
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if let Some(lease) = &mut self.lease {
            lease.respond().await?;
        }
        self.show_head(&parts);
        let forward = forward(&mut self.exchange, Some(body));
        Ok(Response::from_parts(parts, ResponseBody::leased(forward, self)))
    }

    // What the response's body tells, while it streams.

    /// Why there is no use in more of it, if so. If not, the caller is woken when that changes.
    pub(crate) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Option<BoxError> {
        Some(self.lease.as_ref()?.poll_lost(cx)?.into())
    }

    /// There is nothing to be sent at the moment: the service is slow, and not the client.
    pub(crate) fn wait(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.pin();
        }
    }

    /// A frame has come.
    pub(crate) fn progress(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.progress();
        }
    }

    /// It has ended, well or badly, with these trailers. Its last frame waits for the answer; an error
    /// breaks it.
    pub(crate) fn end(mut self, error: bool, trailers: Option<HeaderMap>) -> Ending {
        Box::pin(async move {
            self.exchange.response_body.trailers.arrive(trailers);
            self.finish(error).await.map(drop).map_err(Into::into)
        })
    }
}

pub(crate) fn has_no_body(head: bool, status: StatusCode) -> bool {
    head || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

/// A response with which the guest has nothing to do any more.
pub(crate) fn passed_on<R>(
    mut parts: response::Parts,
    exchange: &mut Exchange,
    rest: Option<LengthChecked<R>>,
    head: bool,
) -> Response<ResponseBody<R>>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut forward = forward(exchange, rest);
    if has_no_body(head, parts.status) {
        if head && !has_no_body(false, parts.status) {
            tell_length(&mut parts.headers, &forward);
        }
        // hyper takes it off for HTTP/1, but not for HTTP/2.
        forward = Forward::default();
    }
    Response::from_parts(parts, ResponseBody::new(forward))
}

/// Sets the content-length of an answer to HEAD, if the service's body knows its length, as hyper would.
/// If the guest has put something before that body, the length is unknown: the service may have made none.
fn tell_length<R>(headers: &mut HeaderMap, body: &Forward<LengthChecked<R>>)
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let rest = body.rest.as_ref().filter(|rest| body.chunks.is_empty() && !rest.is_end_stream());
    let said = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let length = rest.and_then(|rest| rest.size_hint().exact());
    // None is as likely to be left out for HEAD.
    if let Some(length) = length.filter(|length| *length > 0 && !said) {
        set_length(headers, length);
    }
}

/// What there is of a response's body, and what is to come.
fn forward<R>(
    exchange: &mut Exchange,
    rest: Option<LengthChecked<R>>,
) -> Forward<LengthChecked<R>> {
    let (chunks, _) = exchange.response_body.pass_on();
    Forward { chunks, rest, trailers: std::mem::take(&mut exchange.response_body.trailers) }
}

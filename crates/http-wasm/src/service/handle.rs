//! One request's way through its guest, the service behind it, and back.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use millpond_pool_core::Error;
use tower::Service;

use crate::instance::lease::lease;
use crate::message::body_buffer::{BoxError, Incoming};
use crate::message::content_length::LengthChecked;
use crate::message::exchange::Exchange;
use crate::message::forward::RequestBody;
use crate::message::framing::{declare_trailers, length, set_length, strip_framing};
use crate::pool::{HttpWasmPool, Waiting};
use crate::service::body::ResponseBody;
use crate::service::second_call::{SecondCall, has_no_body, passed_on};

pub(crate) struct HandleRequest<S> {
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

impl<S, R> HandleRequest<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    pub(crate) async fn run(
        mut self,
        waiting: Result<Waiting, Error>,
        request: Request<Option<Incoming>>,
    ) -> Result<Response<ResponseBody<R>>, Failure<S::Error>> {
        let (submitted, reply) = waiting?;
        let (parts, body) = request.into_parts();
        let source = self.pool.source(&parts.extensions);
        let exchange =
            Box::new(Exchange::new(parts, body, source, self.pool.max_body(), self.pool.buffers()));

        let mut lease = lease(submitted, reply).await?;
        let (ctx_next, mut exchange) = lease.handle_request(exchange).await?;
        if !ctx_next.next() {
            lease.finish().await?;
            return Ok(self.own_answer(&mut exchange));
        }
        let info = lease.info();
        let lease = if info.passes_responses {
            // It has nothing to do with the response: others may have it by now.
            lease.finish().await?;
            None
        } else {
            lease.pin();
            Some(lease)
        };
        let keep = info.sees_heads && lease.is_some();
        let asked_head = exchange.request.method == Method::HEAD;
        let answered = self.inner.call(exchange.next_request(keep)).await;
        let second_call = SecondCall::new(lease, ctx_next.ctx(), exchange);
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                second_call.tell_failure().await;
                return Err(Failure::Inner(error));
            }
        };
        let (parts, body) = response.into_parts();
        let bodiless = has_no_body(asked_head, parts.status);
        let body = LengthChecked::new(body, &parts.headers, bodiless);
        Ok(second_call.answer(parts, body, bodiless, self.head).await?)
    }

    /// What the guest answers in place of the service.
    fn own_answer(&self, exchange: &mut Exchange) -> Response<ResponseBody<R>> {
        let mut response = Response::new(());
        let status = exchange.response.status.unwrap_or(StatusCode::OK);
        *response.status_mut() = status;
        *response.headers_mut() = std::mem::take(&mut exchange.response.headers);
        let headers = response.headers_mut();
        // HEAD is told how long the body of a GET would be, which the guest may know without writing it.
        let written = exchange.response_body.written_len().map(|written| written as u64);
        let length = written.or_else(|| length(headers));
        strip_framing(headers);
        if let Some(length) = length.filter(|_| self.head && !has_no_body(false, status)) {
            set_length(headers, length);
        }
        declare_trailers(headers, exchange.response_body.trailers.known());
        passed_on(response.into_parts().0, exchange, None, self.head)
    }
}

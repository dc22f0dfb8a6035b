//! The response to come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use millpond_pool_core::{Error, Instance, Submitted};

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::body_cell::BodyCell;
use crate::instance::reply::{News, Reply};
use crate::instance::slot::{self, Helper};
use crate::response::body::ResponseBody;

/// The response to a request. Dropping it cancels the request.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<H: Host> {
    state: State<H>,
}

enum State<H: Host> {
    Refused(Option<Error>),
    Waiting(Option<Waiting<H>>),
}

struct Waiting<H: Host> {
    submitted: Submitted<WasmDriver<H>>,
    reply: Caller<H>,
    /// The run that this future drives, and on which instance.
    drives: Option<(Instance<WasmDriver<H>>, u64)>,
    head: bool,
}

/// The caller's end of a reply.
struct Caller<H: Host>(Arc<Reply<H>>);

impl<H: Host> Drop for Caller<H> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<H: Host> ResponseFuture<H> {
    pub(crate) fn refused(error: Error) -> Self {
        Self { state: State::Refused(Some(error)) }
    }

    pub(crate) fn new(
        submitted: Submitted<WasmDriver<H>>,
        reply: Arc<Reply<H>>,
        head: bool,
    ) -> Self {
        Self {
            state: State::Waiting(Some(Waiting {
                submitted,
                reply: Caller(reply),
                drives: None,
                head,
            })),
        }
    }
}

impl<H: Host> Future for ResponseFuture<H> {
    type Output = Result<Response<ResponseBody<H>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Refused(error) => {
                Poll::Ready(Err(error.take().expect("polled after it was ready")))
            }
            State::Waiting(waiting) => {
                let news = {
                    let waiting = waiting.as_mut().expect("polled after it was ready");
                    std::task::ready!(waiting.poll(cx))
                };
                let waiting = waiting.take().expect("it was there just now");
                Poll::Ready(waiting.finish(news))
            }
        }
    }
}

impl<H: Host> Waiting<H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News<H>> {
        if let Poll::Ready(news) = self.reply.0.poll(cx) {
            match news {
                News::Drive(instance, run) => self.drives = Some((instance, run)),
                news => return Poll::Ready(news),
            }
        }
        // Done or not, there may be an answer after this, or another one to drive.
        while let Some((instance, run)) = &self.drives {
            Helper::new(self.submitted.pool(), instance, *run).drive(cx);
            match self.reply.0.poll(cx) {
                Poll::Ready(News::Drive(instance, run)) => self.drives = Some((instance, run)),
                polled => return polled,
            }
        }
        Poll::Pending
    }

    fn finish(mut self, news: News<H>) -> Result<Response<ResponseBody<H>>, Error> {
        match news {
            News::Response(instance, run, response) => Ok(self.respond(instance, run, response)),
            News::Failed(error) => {
                self.submitted.over();
                // The guest may have more to do than to answer.
                let running = |(instance, run): &(Instance<WasmDriver<H>>, u64)| {
                    let slot = instance.slot();
                    !slot.is_shared() && slot.is_running(*run)
                };
                if let Some((instance, run)) = self.drives.filter(running) {
                    let pool = self.submitted.pool().clone();
                    pool.driver().spawn(slot::drive(pool.clone(), instance, run));
                }
                Err(error)
            }
            News::Drive(..) => unreachable!("taken care of where the news are polled"),
        }
    }

    fn respond(
        self,
        instance: Instance<WasmDriver<H>>,
        run: u64,
        response: Response<Arc<BodyCell>>,
    ) -> Response<ResponseBody<H>> {
        let (parts, cell) = response.into_parts();
        let no_content = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        let head_only = self.head || no_content.contains(&parts.status);
        let length = parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = if head_only { None } else { length };
        let body = ResponseBody::new(cell, self.submitted, (instance, run), length, head_only);
        Response::from_parts(parts, body)
    }
}

impl<H: Host> fmt::Debug for ResponseFuture<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

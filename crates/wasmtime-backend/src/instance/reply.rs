//! Where the answer to a request arrives.
//!
//! Several sides may answer: the guest with its response, the pool with a timeout, the driver with
//! a trap. The first answer counts. A job that is dropped unanswered, for whatever reason, answers
//! that its instance ended: no caller waits for ever.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use millpond_engine::lock;
use millpond_pool_core::cell::store_waker;
use millpond_pool_core::{Error, ErrorKind, Instance};
use wasmtime_wasi_http::WasiBody;

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::body_cell::BodyCell;

/// What happens to a request, as its caller learns it.
pub(crate) enum News<H: Host> {
    /// The caller drives this run of the guest.
    Drive(Instance<WasmDriver<H>>, u64),
    /// The guest's response, from this run of it.
    Response(Instance<WasmDriver<H>>, u64, Response<Arc<BodyCell>>),
    /// There will be none.
    Failed(Error),
}

/// Where the answer to a request arrives, and what its caller waits on.
pub(crate) struct Reply<H: Host> {
    state: Mutex<State<H>>,
}

struct State<H: Host> {
    drive: Option<(Instance<WasmDriver<H>>, u64)>,
    answer: Option<News<H>>,
    answered: bool,
    /// The caller waits already.
    polled: bool,
    /// Its waker, since it found nothing.
    waker: Option<Waker>,
    /// The caller went away.
    closed: bool,
}

impl<H: Host> Default for State<H> {
    fn default() -> Self {
        Self {
            drive: None,
            answer: None,
            answered: false,
            polled: false,
            waker: None,
            closed: false,
        }
    }
}

impl<H: Host> Reply<H> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    /// Has the caller drive the guest. If it has left, the worker does.
    pub(crate) fn drive(&self, instance: Instance<WasmDriver<H>>) {
        let run = instance.slot().run_number();
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            return instance.slot().wake_worker_if_alone();
        }
        let waits = state.polled;
        state.drive = Some((instance.clone(), run));
        let waker = state.waker.take();
        drop(state);
        if waits {
            // The caller may not poll for long: it may be a guest that computes meanwhile.
            instance.slot().wake_worker_if_alone();
        }
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn respond(
        &self,
        instance: Instance<WasmDriver<H>>,
        response: Response<Arc<BodyCell>>,
    ) {
        let run = instance.slot().run_number();
        self.answer(News::Response(instance, run, response));
    }

    pub(crate) fn fail(&self, error: Error) {
        self.answer(News::Failed(error));
    }

    /// Returns whether the request has been answered or its caller has left: a guest that saw it
    /// now would work in vain.
    pub(crate) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.answered || state.closed
    }

    /// Notes that the caller went away. What it will not read is dropped outside the lock.
    pub(crate) fn close(&self) {
        let unread = {
            let mut state = lock(&self.state);
            state.closed = true;
            (state.drive.take(), state.answer.take())
        };
        if let (Some((instance, _)), _) = &unread {
            instance.slot().wake_worker_if_alone();
        }
        drop(unread);
    }

    /// Answers, if this is the first answer. A late one is dropped, outside the lock.
    fn answer(&self, news: News<H>) {
        let (late, waker) = {
            let mut state = lock(&self.state);
            if std::mem::replace(&mut state.answered, true) || state.closed {
                (Some(news), None)
            } else {
                (state.answer.replace(news), state.waker.take())
            }
        };
        drop(late);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<News<H>> {
        let mut state = lock(&self.state);
        state.polled = true;
        if let Some((instance, run)) = state.drive.take() {
            return Poll::Ready(News::Drive(instance, run));
        }
        if let Some(news) = state.answer.take() {
            return Poll::Ready(news);
        }
        let old = store_waker(&mut state.waker, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

/// A request on its way to a guest.
pub struct Job<H: Host> {
    /// Boxed: a job moves often.
    request: Option<Box<Request<WasiBody>>>,
    reply: Arc<Reply<H>>,
}

impl<H: Host> Job<H> {
    pub(crate) fn new(request: Request<WasiBody>, reply: Arc<Reply<H>>) -> Self {
        Self { request: Some(Box::new(request)), reply }
    }

    pub(crate) fn reply(&self) -> &Arc<Reply<H>> {
        &self.reply
    }

    /// Takes the job apart for a guest that is about to see it. From here on, the holder of the
    /// parts is responsible for the answer.
    pub(crate) fn into_parts(mut self) -> (Request<WasiBody>, Arc<Reply<H>>) {
        let request = self.request.take().expect("the parts are taken once, by value");
        (*request, Arc::clone(&self.reply))
    }
}

impl<H: Host> Drop for Job<H> {
    fn drop(&mut self) {
        if self.request.is_some() {
            self.reply.fail(Error::new(ErrorKind::Retired));
        }
    }
}

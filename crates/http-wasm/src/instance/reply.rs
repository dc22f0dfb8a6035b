//! Where a request waits for its guest, and learns if it gets none or loses it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use millpond_engine::lock;
use millpond_pool_core::cell::store_waker;
use millpond_pool_core::{Error, ErrorKind, Instance, RequestId};

use crate::instance::driver::GuestDriver;

/// What a request waits on: which instance it gets, or why none.
#[derive(Default)]
pub(crate) struct Reply {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instance: Option<Instance<GuestDriver>>,
    error: Option<Error>,
    waker: Option<Waker>,
}

impl Reply {
    /// The instance that the request is handed to.
    pub(crate) async fn instance(&self) -> Result<Instance<GuestDriver>, Error> {
        self.wait(|state| match state.error.take() {
            Some(error) => Some(Err(error)),
            None => state.instance.take().map(Ok),
        })
        .await
    }

    /// Why there will be no response: the pool says so of each request whose instance it ends before there
    /// was one.
    pub(crate) async fn error(&self) -> Error {
        self.wait(|state| state.error.take()).await
    }

    /// The same, if it is known by now. If not, the caller is woken when it is.
    pub(crate) fn poll_error(&self, cx: &mut Context<'_>) -> Option<Error> {
        match self.poll(cx, |state| state.error.take()) {
            Poll::Ready(error) => Some(error),
            Poll::Pending => None,
        }
    }

    /// What `poll` gives, unless the request is told something before.
    pub(crate) async fn or_error<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Error> {
        poll_fn(|cx| {
            // First, so that a task that ends the instance from here on wakes this one.
            match self.poll_error(cx) {
                Some(error) => Poll::Ready(Err(error)),
                None => poll(cx).map(Ok),
            }
        })
        .await
    }

    pub(crate) fn fail(&self, error: Error) {
        let waker = {
            let mut state = lock(&self.state);
            // The first one counts.
            state.error.get_or_insert(error);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// There is something to look at.
    pub(crate) fn wake(&self) {
        let waker = lock(&self.state).waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn give(&self, instance: Instance<GuestDriver>) {
        let waker = {
            let mut state = lock(&self.state);
            state.instance = Some(instance);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    async fn wait<T>(&self, look: impl Fn(&mut State) -> Option<T>) -> T {
        poll_fn(|cx| self.poll(cx, &look)).await
    }

    fn poll<T>(&self, cx: &mut Context<'_>, look: impl FnOnce(&mut State) -> Option<T>) -> Poll<T> {
        let mut state = lock(&self.state);
        if let Some(found) = look(&mut state) {
            return Poll::Ready(found);
        }
        let old = store_waker(&mut state.waker, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

/// A request that wants a guest, on its way through the pool. Dropped unanswered, it answers for itself.
pub struct Job {
    reply: Option<Arc<Reply>>,
}

impl Job {
    pub(crate) fn new(reply: Arc<Reply>) -> Self {
        Self { reply: Some(reply) }
    }

    /// It is handed to an instance, unless that has been ended meanwhile: then it comes back.
    pub(crate) fn hand_over(
        mut self,
        request_id: RequestId,
        instance: Instance<GuestDriver>,
    ) -> Result<(), Self> {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        let slot = instance.slot();
        // First: either this sees the reason, or the task that ends it finds the caller to tell.
        slot.set_caller(request_id, Arc::clone(&reply));
        if slot.shutdown_reason().is_some() && slot.take_caller(Some(request_id)).is_some() {
            self.reply = Some(reply);
            return Err(self);
        }
        reply.give(instance);
        Ok(())
    }

    /// There is no guest for it.
    pub(crate) fn fail(mut self, error: Error) {
        if let Some(reply) = self.reply.take() {
            reply.fail(error);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply.fail(Error::new(ErrorKind::Retired));
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

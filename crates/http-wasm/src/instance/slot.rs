//! Where an instance's guest is between its calls, and during them.
//!
//! What a guest does is a future that owns it. It stays in an [`InstanceCell`] while it runs, so that the pool can end it
//! though the task that polls it does not come back: the caller of a request that has timed out, the client who
//! reads nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use millpond_engine::{catch_panic, lock};
use millpond_pool_core::cell::{CellState, InstanceCell, store_waker};
use millpond_pool_core::{Reason, RequestId};

use crate::instance::guest::{Guest, Returned};
use crate::instance::reply::Reply;

#[derive(Default)]
pub struct Slot {
    cell: InstanceCell<Run, Guest>,
    /// The newest request that was handed to it, and where that one learns what becomes of it.
    caller: Mutex<Option<(RequestId, Arc<Reply>)>>,
    /// The waker of the task that drives a spare's start, to be woken when the instance shuts down. A
    /// request's task is told through its [`Reply`].
    starter: Mutex<Option<Waker>>,
}

/// A start or a call. The guest comes back unless there is none.
pub(crate) type Run = Pin<Box<dyn Future<Output = (Option<Guest>, wasmtime::Result<Done>)> + Send>>;

/// What a guest has done.
pub(crate) enum Done {
    Started,
    Called(Returned),
}

/// Why nothing more comes of a start or a call.
pub(crate) enum Fault {
    /// The pool ends the instance.
    ShutDown(Reason),
    /// The start has failed, or the host has panicked.
    Failed(wasmtime::Error),
}

impl Slot {
    /// A start, for the task that polls it. `false`: the instance has been ended before it came to that.
    pub(crate) fn begin_start(&self, start: Run) -> bool {
        self.cell.begin(start).is_ok()
    }

    /// Begins a call of the guest, if it is there.
    pub(crate) fn begin_call(&self, make: impl FnOnce(Guest) -> Run) -> Result<(), Fault> {
        // If not, the end was faster.
        self.cell.resume(make).map(drop).ok_or_else(|| self.shut_down())
    }

    /// Whether the guest has started just now, or had before. To be called once its start has begun.
    pub(crate) fn poll_start(&self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        self.poll(cx).map(|done| done.map(|done| done.is_some()))
    }

    /// Polls the start of a spare, as [`poll_start`](Self::poll_start) does.
    pub(crate) fn poll_spare(&self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        // First, so that an end from here on wakes this task.
        drop(store_waker(&mut lock(&self.starter), cx));
        let polled = self.poll_start(cx);
        if polled.is_ready() {
            drop(lock(&self.starter).take());
        }
        polled
    }

    /// Drives the call that was begun.
    pub(crate) fn poll_call(&self, cx: &mut Context<'_>) -> Poll<Result<Returned, Fault>> {
        self.poll(cx).map(|done| match done? {
            Some(Done::Called(returned)) => Ok(returned),
            _ => Err(self.shut_down()),
        })
    }

    /// Drives the newest run. `None`: it is over.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Done>, Fault>> {
        if self.shutdown_reason().is_some() {
            return Poll::Ready(Err(self.shut_down()));
        }
        let polled = self.cell.poll(self.cell.run_number(), |run| {
            let panicked = match catch_panic(|| run.as_mut().poll(cx)) {
                Ok(polled) => return polled,
                Err(panicked) => panicked,
            };
            // What is left of it may panic again when it is dropped.
            let rest = std::mem::replace(run, Box::pin(std::future::pending()));
            let _ = catch_panic(|| drop(rest));
            Poll::Ready((None, Err(panicked.into())))
        });
        polled.map(|done| match done {
            // It has been torn down just now.
            None if self.shutdown_reason().is_some() => Err(self.shut_down()),
            done => done.transpose().map_err(Fault::Failed),
        })
    }

    fn shut_down(&self) -> Fault {
        Fault::ShutDown(self.shutdown_reason().unwrap_or(Reason::Host))
    }

    /// Ends the instance: nothing is polled from here on. `teardown` gets the guest once no task polls it.
    pub(crate) fn end(
        &self,
        reason: Reason,
        teardown: impl FnOnce(CellState<Run, Guest>) + Send + 'static,
    ) {
        self.cell.end(reason, teardown);
        let starter = lock(&self.starter).take();
        starter.into_iter().for_each(Waker::wake);
        let caller = lock(&self.caller).as_ref().map(|(_, caller)| Arc::clone(caller));
        if let Some(caller) = caller {
            caller.wake();
        }
    }

    pub(crate) fn shutdown_reason(&self) -> Option<Reason> {
        self.cell.shutdown_reason()
    }

    /// A request is handed to the instance.
    pub(crate) fn set_caller(&self, request_id: RequestId, reply: Arc<Reply>) {
        let before = lock(&self.caller).replace((request_id, reply));
        drop(before);
    }

    /// Takes the reply of the request that was handed to it last; with an id, only if it is that request's. A request that
    /// has had its answer does not hear what it is told.
    pub(crate) fn take_caller(&self, request_id: Option<RequestId>) -> Option<Arc<Reply>> {
        let mut caller = lock(&self.caller);
        let (_, reply) =
            caller.take_if(|(other, _)| request_id.is_none_or(|this| this == *other))?;
        Some(reply)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("cell", &self.cell).finish_non_exhaustive()
    }
}

//! Where an instance's guest sits between its calls, and during them.
//!
//! A call is a future that owns its guest. It stays here while it runs, so that the pool can end it though
//! the one who polls it does not come back: the caller of a request that has timed out, the client who
//! reads nothing.

use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::task::{Context, Poll, Waker};

use millpond_engine::{catch_panic, keep, lock};
use millpond_pool_core::{Reason, RequestId};
use tokio::sync::Notify;

use crate::instance::guest::{Guest, Returned};
use crate::instance::reply::Reply;

#[derive(Default)]
pub struct Slot {
    seat: Mutex<Seat>,
    /// The newest request that was handed to it, and where that one learns what becomes of it.
    caller: Mutex<Option<(RequestId, Arc<Reply>)>>,
    /// Why it ends. From then on nothing is polled.
    shutdown: OnceLock<Reason>,
    /// The waker of the task that drives a spare's start, to be woken when the instance shuts down. A
    /// request's task is told through its [`Reply`].
    starter: Mutex<Option<Waker>>,
    /// Told when the seat has been unlocked since the instance began to shut down.
    freed: Notify,
}

/// What is in a slot.
#[derive(Default)]
pub(crate) enum Seat {
    #[default]
    New,
    Starting(Starting),
    /// It waits for its next call.
    Parked(Guest),
    Calling(Calling),
    Gone,
}

pub(crate) type Starting = Pin<Box<dyn Future<Output = wasmtime::Result<Guest>> + Send>>;
pub(crate) type Calling = Pin<Box<dyn Future<Output = (Guest, Returned)> + Send>>;

/// Why nothing more comes of a start or a call.
pub(crate) enum Fault {
    /// The pool ends the instance.
    ShutDown(Reason),
    /// The start has failed, or the host has panicked.
    Failed(wasmtime::Error),
}

impl Slot {
    /// A start, for the one who polls it. `false`: the instance has been ended before it came to that.
    pub(crate) fn begin_start(&self, start: Starting) -> bool {
        // Under the lock: the task that ends an instance empties the seat once, and must not miss this start.
        self.with_seat(|seat| {
            let begins = self.shutdown.get().is_none();
            if begins {
                *seat = Seat::Starting(start);
            }
            begins
        })
    }

    /// Begins a call of the guest, if it is there.
    pub(crate) fn begin_call(&self, make: impl FnOnce(Guest) -> Calling) -> Result<(), Fault> {
        self.with_seat(|seat| match std::mem::replace(seat, Seat::Gone) {
            Seat::Parked(guest) => {
                *seat = Seat::Calling(make(guest));
                Ok(())
            }
            // The task that ends it was faster.
            _ => Err(Fault::ShutDown(self.shutdown_reason().unwrap_or(Reason::Host))),
        })
    }

    /// Whether the guest has started just now, or had before.
    pub(crate) fn poll_start(&self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        self.poll(|seat| match seat {
            Seat::Parked(_) => Poll::Ready(Ok(false)),
            Seat::Starting(start) => {
                let polled = catch_panic(|| start.as_mut().poll(cx));
                let (next, result) = match polled {
                    Ok(Poll::Pending) => return Poll::Pending,
                    Ok(Poll::Ready(Ok(guest))) => (Seat::Parked(guest), Ok(true)),
                    Ok(Poll::Ready(Err(error))) => (Seat::Gone, Err(Fault::Failed(error))),
                    Err(panicked) => (Seat::Gone, Err(Fault::Failed(panicked.into()))),
                };
                replace(seat, next);
                Poll::Ready(result)
            }
            Seat::New | Seat::Calling(_) | Seat::Gone => Poll::Pending,
        })
    }

    /// Polls the start of a spare, as [`poll_start`](Self::poll_start) does.
    pub(crate) fn poll_spare(&self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        // First, so that the task that ends it from here on wakes this one.
        drop(keep(&mut lock(&self.starter), cx));
        let polled = self.poll_start(cx);
        if polled.is_ready() {
            drop(lock(&self.starter).take());
        }
        polled
    }

    /// Drives the call that was begun.
    pub(crate) fn poll_call(&self, cx: &mut Context<'_>) -> Poll<Result<Returned, Fault>> {
        self.poll(|seat| {
            let Seat::Calling(call) = seat else { return Poll::Pending };
            let (next, result) = match catch_panic(|| call.as_mut().poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                // A store that trapped is here until it is dropped.
                Ok(Poll::Ready((guest, returned))) => (Seat::Parked(guest), Ok(returned)),
                Err(panicked) => (Seat::Gone, Err(Fault::Failed(panicked.into()))),
            };
            replace(seat, next);
            Poll::Ready(result)
        })
    }

    fn poll<T>(
        &self,
        poll: impl FnOnce(&mut Seat) -> Poll<Result<T, Fault>>,
    ) -> Poll<Result<T, Fault>> {
        if let Some(reason) = self.shutdown.get() {
            return Poll::Ready(Err(Fault::ShutDown(*reason)));
        }
        self.with_seat(poll)
    }

    /// Looks at the seat. If the instance shuts down, tells the task that waits to clear it.
    fn with_seat<T>(&self, look: impl FnOnce(&mut Seat) -> T) -> T {
        let seen = look(&mut lock(&self.seat));
        // With the fence in `begin_shutdown`: either this sees the reason and tells, or `clear` finds the seat unlocked.
        fence(Ordering::SeqCst);
        if self.shutdown.get().is_some() {
            self.freed.notify_one();
        }
        seen
    }

    /// The instance ends: nothing is polled from here on.
    pub(crate) fn begin_shutdown(&self, reason: Reason) {
        let _ = self.shutdown.set(reason);
        fence(Ordering::SeqCst);
        let starter = lock(&self.starter).take();
        starter.into_iter().for_each(Waker::wake);
        let caller = lock(&self.caller).as_ref().map(|(_, caller)| Arc::clone(caller));
        if let Some(caller) = caller {
            caller.wake();
        }
    }

    pub(crate) fn shutdown_reason(&self) -> Option<Reason> {
        self.shutdown.get().copied()
    }

    /// Takes out what is in the slot of an instance that shuts down, once no task polls it.
    pub(crate) async fn clear(&self) -> Seat {
        loop {
            if let Some(seat) = self.try_clear() {
                return seat;
            }
            // For a tick of the guest, or as long as a host call blocks.
            self.freed.notified().await;
        }
    }

    fn try_clear(&self) -> Option<Seat> {
        let mut seat = match self.seat.try_lock() {
            Ok(seat) => seat,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(std::mem::replace(&mut *seat, Seat::Gone))
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

/// Puts something else into the seat. What was there may panic when it is dropped.
fn replace(seat: &mut Seat, next: Seat) {
    let before = std::mem::replace(seat, next);
    let _ = catch_panic(|| drop(before));
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("shutdown", &self.shutdown).finish_non_exhaustive()
    }
}

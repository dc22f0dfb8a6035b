//! The end of an instance, on a task of its own.

use std::future::Future;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, TryLockError, Weak};
use std::task::Poll;

use millpond_engine::lock;
use millpond_pool_core::{Error, Failure, Instance, InstanceEvent, PoolHandle, Reason};

use super::Seat;
use crate::driver::WasmDriver;
use crate::host::Host;
use crate::records::DumpPlace;

/// Ends an instance that shuts down: stops its run, saves what its open bodies still hold, shows the store
/// to the hook, drops it, and reports that. A task of its own: off the request path. To make a core
/// dump, and to give back a large memory, takes longer than a task may block its thread.
pub(crate) fn dispose<H: Host>(
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    reason: Reason,
) -> impl Future<Output = ()> + Send {
    let end = End::new(pool, instance, Some(reason));
    async move {
        // The whole of it, not a copy of its flag.
        let mut end = end;
        let seat = std::future::poll_fn(|cx| {
            let slot = end.instance.slot();
            slot.ender.register(cx.waker());
            fence(Ordering::SeqCst);
            // Not `lock`: the task that polls the run may be in host code that blocks, and this
            // would block another thread. That task wakes this one when it is done.
            let mut seat = match slot.seat.try_lock() {
                Ok(seat) => seat,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Poll::Pending,
            };
            // It shuts down, so this ends with the first poll.
            seat.poll(cx).map(|_| {
                if let Seat::Parked(guest) = &mut *seat {
                    let error = slot.error().map(|error| &**error);
                    let records = end.pool.driver().records();
                    end.dump = records.place_for_dump(end.instance.id(), error);
                    if end.dump.is_some() || guest.is_large() {
                        // Left there, so that it is found if the runtime ends before its time comes.
                        return None;
                    }
                }
                Some(seat.take())
            })
        })
        .await;
        match seat {
            Some(seat) => {
                end.disarmed = true;
                end.conclude(seat);
            }
            None => {
                end.settle();
                let records = Arc::clone(end.pool.driver().records());
                records.spawn_blocking(move || {
                    let mut end = end;
                    let seat = lock(&end.instance.slot().seat).take();
                    end.disarmed = true;
                    end.conclude(seat);
                });
            }
        }
    }
}

/// Ends an instance when dropped, with the runtime that was to do more for it.
pub(super) struct End<H: Host> {
    pub(super) pool: PoolHandle<WasmDriver<H>>,
    pub(super) instance: Instance<WasmDriver<H>>,
    /// What the pool counts it for, which need not be what its worker found when the two crossed.
    reason: Option<Reason>,
    /// For its core dump, if there is to be one.
    dump: Option<DumpPlace>,
    /// Its drop does nothing.
    pub(super) disarmed: bool,
}

impl<H: Host> End<H> {
    pub(super) fn new(
        pool: PoolHandle<WasmDriver<H>>,
        instance: Instance<WasmDriver<H>>,
        reason: Option<Reason>,
    ) -> Self {
        Self { pool, instance, reason, dump: None, disarmed: false }
    }

    /// Answers all that wait for it.
    fn settle(&self) {
        let Self { pool, instance, .. } = self;
        let slot = instance.slot();
        slot.task.wake();
        if let Some((_, waker)) = slot.wake_state.get() {
            waker.wake_by_ref();
        }
        let reason = slot.shutdown_reason().unwrap_or(Reason::Host);
        let bodies = std::mem::take(&mut *lock(&slot.bodies));
        for body in bodies.iter().filter_map(Weak::upgrade) {
            body.buffer_remaining();
        }
        let inbox = std::mem::take(&mut *lock(&slot.inbox));
        for (request_id, job) in inbox {
            slot.take_waiting(request_id);
            pool.report(instance.id(), InstanceEvent::Returned(request_id, job));
        }
        for (request_id, reply) in slot.take_all_waiting() {
            reply.fail(Error::from(Failure::Retired(reason)));
            pool.report(instance.id(), InstanceEvent::Failed(request_id));
        }
    }

    fn conclude(&mut self, seat: Seat<H>) {
        self.settle();
        let dump = self.dump.take();
        let Self { pool, instance, .. } = self;
        let slot = instance.slot();
        let reason = self.reason.or_else(|| slot.shutdown_reason()).unwrap_or(Reason::Host);
        match seat {
            Seat::Parked(guest) => {
                let error = slot.error().map(|error| &**error);
                guest.end(pool.driver(), instance.id(), reason, error, dump);
            }
            // Stopped in the middle: its store goes without being shown.
            Seat::Running(run) => drop(run),
            Seat::New | Seat::Gone => {}
        }
        pool.report(instance.id(), InstanceEvent::Dropped);
    }
}

impl<H: Host> Drop for End<H> {
    fn drop(&mut self) {
        if self.disarmed {
            return;
        }
        let slot = self.instance.slot();
        slot.begin_shutdown(Reason::Host);
        // Taken if the thread that polls the guest is the one that ends the runtime; or by a helper.
        slot.orphaned.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let seat = match slot.seat.try_lock() {
            Ok(mut seat) => seat.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.conclude(seat);
    }
}

//! The end of an instance, on a task of its own.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use millpond_engine::{catch_panic, lock};
use millpond_pool_core::cell::CellState;
use millpond_pool_core::{Error, Failure, Instance, InstanceEvent, PoolHandle, Reason};

use super::Run;
use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::guest::Guest;
use crate::records::DumpPlace;

/// Ends an instance. Its teardown begins once no task drives its guest: the caller may be the one that does.
pub(crate) fn end<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    reason: Reason,
) {
    let slot = instance.slot();
    let (pool, instance) = (pool.clone(), instance.clone());
    slot.cell.end(reason, move |state| {
        let handle = pool.clone();
        let teardown = Teardown { pool, instance, reason, state, dump: None };
        handle.driver().spawn(teardown.run());
    });
    slot.wake_worker();
}

/// Stops an instance's run, saves what its open bodies still hold, shows the store to the hook, drops it, and
/// reports that. All but the first is done when this is dropped, which the end of the runtime may do at any time.
struct Teardown<H: Host> {
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    /// What the pool counts it for, which need not be what its worker found when the two crossed.
    reason: Reason,
    state: CellState<Run<H>, Guest<H>>,
    /// For its core dump, if there is to be one.
    dump: Option<DumpPlace>,
}

impl<H: Host> Teardown<H> {
    /// A task of its own: off the request path. To make a core dump, and to give back a large memory, takes longer than a
    /// task may block its thread.
    async fn run(mut self) {
        std::future::poll_fn(|cx| {
            self.stop(cx);
            Poll::Ready(())
        })
        .await;
        let CellState::Parked(guest) = &self.state else { return };
        let records = Arc::clone(self.pool.driver().records());
        let error = self.instance.slot().error().map(|error| &**error);
        self.dump = records.place_for_dump(self.instance.id(), error);
        if self.dump.is_some() || guest.is_large() {
            self.settle();
            records.spawn_blocking(move || drop(self));
        }
    }

    /// Takes the guest out of its run. The run sees that the instance shuts down, so it ends with this poll.
    fn stop(&mut self, cx: &mut Context<'_>) {
        if let CellState::Running(run) = &mut self.state
            && let Poll::Ready(end) = run.as_mut().poll(cx)
        {
            let (guest, _) = end.into_parts();
            self.state = guest.map_or(CellState::Gone, CellState::Parked);
        }
    }

    /// Answers all that wait for it.
    fn settle(&self) {
        let Self { pool, instance, .. } = self;
        let slot = instance.slot();
        slot.task.wake();
        slot.wake_worker();
        let bodies = std::mem::take(&mut *lock(&slot.bodies));
        for body in bodies.iter().filter_map(Weak::upgrade) {
            body.buffer_remaining();
        }
        for (request_id, job) in slot.close_inbox() {
            slot.take_waiting(request_id);
            pool.report(instance.id(), InstanceEvent::Returned(request_id, job));
        }
        let reason = slot.shutdown_reason().unwrap_or(Reason::Host);
        for (request_id, reply) in slot.take_all_waiting() {
            reply.fail(Error::from(Failure::Retired(reason)));
            pool.report(instance.id(), InstanceEvent::Failed(request_id));
        }
    }
}

impl<H: Host> Drop for Teardown<H> {
    fn drop(&mut self) {
        self.settle();
        let Self { pool, instance, .. } = self;
        match std::mem::replace(&mut self.state, CellState::Gone) {
            CellState::Parked(guest) => {
                let error = instance.slot().error().map(|error| &**error);
                guest.end(pool.driver(), instance.id(), self.reason, error, self.dump.take());
            }
            // Stopped in the middle: its store goes without being shown.
            state => drop(catch_panic(|| drop(state))),
        }
        pool.report(instance.id(), InstanceEvent::Dropped);
    }
}

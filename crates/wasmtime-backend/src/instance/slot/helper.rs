//! One that is near a guest and drives it: the future of a request, or its body.

use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError};
use std::task::{Context, Poll, Waker};

use millpond_pool_core::{Instance, PoolHandle};

use super::end::End;
use super::{poll_run, report_end};
use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::wake_state::WakeState;

/// How often a helper drives a guest that wants more, before it leaves it to the worker.
const MOST_TIMES: usize = 4;

/// Drives an instance's guest, from now until it is dropped.
pub(crate) struct Helper<'a, H: Host> {
    pool: &'a PoolHandle<WasmDriver<H>>,
    instance: &'a Instance<WasmDriver<H>>,
    run: u64,
    /// If others drive it, too.
    entered: Option<Entered<'a>>,
}

/// Is a helper no more when dropped, whatever happens before.
struct Entered<'a>(&'a (Arc<WakeState>, Waker));

impl<'a, H: Host> Helper<'a, H> {
    pub(crate) fn new(
        pool: &'a PoolHandle<WasmDriver<H>>,
        instance: &'a Instance<WasmDriver<H>>,
        run: u64,
    ) -> Self {
        let entered = instance.slot().wake_state.get().map(|wake_state| {
            wake_state.0.enter();
            Entered(wake_state)
        });
        Self { pool, instance, run, entered }
    }

    /// Drives it as far as it goes.
    pub(crate) fn drive(&self, cx: &mut Context<'_>) {
        match &self.entered {
            Some(Entered(wake_state)) => self.help(wake_state),
            None => drop(poll_run(self.pool, self.instance, self.run, cx)),
        }
    }

    fn help(&self, wake_state: &(Arc<WakeState>, Waker)) {
        // A guest often wakes itself while it is driven; one that does so without end is the worker's.
        for _ in 0..MOST_TIMES {
            if !wake_state.0.is_woken() {
                return;
            }
            match try_drive(self.pool, self.instance, wake_state) {
                None => return,
                Some(Poll::Pending) => {}
                Some(Poll::Ready(())) => {
                    // The worker has an end to see.
                    wake_state.0.note();
                    return;
                }
            }
        }
    }
}

impl<H: Host> Drop for Helper<'_, H> {
    fn drop(&mut self) {
        let Some(Entered(wake_state)) = &self.entered else { return };
        if std::thread::panicking() {
            wake_state.0.note();
        } else {
            // What it woke itself, by taking what the guest had sent.
            self.help(wake_state);
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.leave();
    }
}

/// Drives a shared guest. Returns `None` if another task is driving it, ready if there is none to drive.
pub(super) fn try_drive<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    wake_state: &(Arc<WakeState>, Waker),
) -> Option<Poll<()>> {
    let slot = instance.slot();
    let polled = {
        // Runs after the seat is left, also by a panic.
        let _leaving = Leaving { pool, instance };
        let mut seat = match slot.seat.try_lock() {
            Ok(seat) => seat,
            // Polled again it panics in the worker, whose end is the instance's.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        seat.poll_shared(wake_state)
    };
    Some(report_end(pool, instance, polled))
}

/// When dropped, wakes the task that waits for the seat.
struct Leaving<'a, H: Host> {
    pool: &'a PoolHandle<WasmDriver<H>>,
    instance: &'a Instance<WasmDriver<H>>,
}

impl<H: Host> Drop for Leaving<'_, H> {
    fn drop(&mut self) {
        let slot = self.instance.slot();
        slot.leave_seat();
        if slot.orphaned.load(Ordering::Relaxed) {
            let (pool, instance) = (self.pool.clone(), self.instance.clone());
            drop(End::new(pool, instance, None));
        }
    }
}

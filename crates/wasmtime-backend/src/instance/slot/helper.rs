//! A task near a guest, which drives it: the future of a request, or its body.

use std::sync::Arc;
use std::task::{Context, Waker};

use millpond_pool_core::cell::WakeState;
use millpond_pool_core::{Instance, PoolHandle};

use super::{poll_run, try_drive};
use crate::driver::WasmDriver;
use crate::host::Host;

/// Drives an instance's guest, from now until it is dropped.
pub(crate) struct Helper<'a, H: Host> {
    pool: &'a PoolHandle<WasmDriver<H>>,
    instance: &'a Instance<WasmDriver<H>>,
    run: u64,
    /// If others drive it, too.
    shared: Option<Added<'a>>,
}

/// Is a helper no more when dropped, whatever happens before.
struct Added<'a>(&'a (Arc<WakeState>, Waker));

impl<'a, H: Host> Helper<'a, H> {
    pub(crate) fn new(
        pool: &'a PoolHandle<WasmDriver<H>>,
        instance: &'a Instance<WasmDriver<H>>,
        run: u64,
    ) -> Self {
        let shared = instance.slot().wake_state.get().map(|wake_state| {
            wake_state.0.add_helper();
            Added(wake_state)
        });
        Self { pool, instance, run, shared }
    }

    /// Drives it as far as it goes.
    pub(crate) fn drive(&self, cx: &mut Context<'_>) {
        match &self.shared {
            Some(Added(wake_state)) => self.help(wake_state),
            None => drop(poll_run(self.pool, self.instance, self.run, cx)),
        }
    }

    fn help(&self, wake_state: &(Arc<WakeState>, Waker)) {
        wake_state.0.help(|| try_drive(self.pool, self.instance, wake_state));
    }
}

impl<H: Host> Drop for Helper<'_, H> {
    fn drop(&mut self) {
        let Some(Added(wake_state)) = &self.shared else { return };
        if std::thread::panicking() {
            wake_state.0.mark_ready();
        } else {
            // What it woke itself, by taking what the guest had sent.
            self.help(wake_state);
        }
    }
}

impl Drop for Added<'_> {
    fn drop(&mut self) {
        self.0.0.remove_helper();
    }
}

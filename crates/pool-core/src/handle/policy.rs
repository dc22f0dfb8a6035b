//! Polls an instance's policy, outside the pool's lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, Wake, Waker};

use crate::expiration::{BoxExpiration, ExpirationContext, Expired, Polled};
use crate::limits::Limits;
use crate::reason::Reason;
use crate::sync::{Mutex, lock};
use crate::view::{InstanceId, InstanceView, Load};

use super::{Driver, Inner, Runtime};

/// An instance's policy.
#[derive(Default)]
pub(super) struct PolicyCell(Mutex<State>);

#[derive(Default)]
struct State {
    /// Made when it is first polled.
    policy: Option<BoxExpiration>,
    /// Made when the policy first asks for it.
    waker: OnceLock<Waker>,
    /// Of the newest view it was polled on.
    revision: u64,
}

impl PolicyCell {
    /// The verdict, and what the policy asked for; nothing if another thread was
    /// here first with a newer view: policies never see an older one after it. A policy that
    /// panics retires its instance.
    pub(super) fn poll<D: Driver>(
        &self,
        inner: &Arc<Inner<D>>,
        view: &InstanceView,
        limits: &Limits,
        load: Load,
        revision: u64,
    ) -> Option<Polled> {
        let mut state = lock(&self.0);
        if revision < state.revision {
            return None;
        }
        state.revision = revision;
        let now = inner.driver.runtime().now();
        let State { policy, waker, .. } = &mut *state;
        let wake =
            || Waker::from(Arc::new(PolicyWake { id: view.id, pool: Arc::downgrade(inner) }));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let policy = policy.get_or_insert_with(|| inner.driver.expiration(view.id));
            let cx = ExpirationContext::waking_later(now, view, waker, &wake);
            cx.with_limits(limits).with_load(load).poll(policy.as_mut())
        }));
        Some(polled.unwrap_or_else(|_| Poll::Ready(Expired::Retire(Reason::Host)).into()))
    }
}

/// Leaves the polling to the reaper: a policy may wake itself while it is being polled.
struct PolicyWake<D: Driver> {
    id: InstanceId,
    pool: Weak<Inner<D>>,
}

impl<D: Driver> Wake for PolicyWake<D> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(inner) = self.pool.upgrade() else { return };
        let reaper = {
            let mut state = lock(&inner.state);
            state.reaper.woken.insert(self.id);
            state.reaper.rouse()
        };
        if let Some(reaper) = reaper {
            reaper.wake();
        }
    }
}

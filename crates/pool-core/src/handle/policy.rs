//! Polls an instance's policy, outside the pool's lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use crate::expiration::{BoxExpiration, ExpirationContext, Expired};
use crate::reason::Reason;
use crate::sync::{Mutex, lock};
use crate::view::{InstanceId, InstanceView};

use super::{Driver, Inner};

/// An instance's policy, made when it is first polled.
#[derive(Default)]
pub(super) struct PolicyCell(Mutex<Option<(BoxExpiration, Waker)>>);

impl PolicyCell {
    /// The verdict, and when the policy wants to be polled again. A policy that panics retires
    /// its instance.
    pub(super) fn poll<D: Driver>(
        &self,
        inner: &Arc<Inner<D>>,
        now: Instant,
        view: &InstanceView,
    ) -> (Poll<Expired>, Option<Instant>) {
        let mut policy = lock(&self.0);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let (policy, waker) = policy.get_or_insert_with(|| {
                let wake = PolicyWake { id: view.id, pool: Arc::downgrade(inner) };
                (inner.driver.expiration(view.id), Waker::from(Arc::new(wake)))
            });
            let mut cx = ExpirationContext::new(now, view, waker);
            let verdict = policy.as_mut().poll_expired(&mut cx);
            (verdict, cx.requested_wake())
        }));
        polled.unwrap_or((Poll::Ready(Expired::Retire(Reason::Host)), None))
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
            state.pool.handle_policy_wake(self.id);
            state.reaper.rouse()
        };
        if let Some(reaper) = reaper {
            reaper.wake();
        }
    }
}

//! A request on its way, from submission to the end of its body.

use std::fmt;

use crate::effect::InstanceEvent;
use crate::view::{InstanceId, RequestId};

use super::{Driver, Instance, Lease, PoolHandle};

/// A submitted request. Dropping it before its end cancels the request: its caller went away.
#[must_use = "dropping a submitted request cancels it"]
pub struct Submitted<D: Driver> {
    pool: PoolHandle<D>,
    request_id: RequestId,
    over: bool,
}

impl<D: Driver> Submitted<D> {
    pub(super) fn new(pool: PoolHandle<D>, request_id: RequestId) -> Self {
        Self { pool, request_id, over: false }
    }

    /// Which request.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// The pool it was submitted to.
    pub fn pool(&self) -> &PoolHandle<D> {
        &self.pool
    }

    /// Exclusive use of the instance that it was handed to, until its answer.
    pub fn lease(self, instance: Instance<D>) -> Lease<D> {
        Lease::new(self, instance)
    }

    /// A frame of its response body moved.
    pub fn progress(&self, instance: InstanceId) {
        self.pool.progress(instance, self.request_id);
    }

    /// Its response body, from this instance, has ended: the seat is free.
    pub fn ended(&mut self, instance: InstanceId) {
        if !std::mem::replace(&mut self.over, true) {
            self.pool.report(instance, InstanceEvent::Ended(self.request_id));
        }
    }

    /// The driver has reported its end, or it got no response: dropping this cancels nothing.
    pub fn over(&mut self) {
        self.over = true;
    }
}

impl<D: Driver> Drop for Submitted<D> {
    fn drop(&mut self) {
        if !self.over {
            let item = self.pool.act(|pool, now| pool.handle_cancel(now, self.request_id));
            drop(item);
        }
    }
}

impl<D: Driver> fmt::Debug for Submitted<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Submitted").field(&self.request_id).finish()
    }
}

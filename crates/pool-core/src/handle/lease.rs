//! An instance in exclusive use.

use std::fmt;

use crate::effect::{InstanceEvent, Usage};
use crate::view::RequestId;

use super::{Driver, Instance, PoolHandle, Submitted};

/// Exclusive use of an instance by the request that it was handed to: between two calls of the guest the
/// instance stays [pinned](Self::pin), idle but charged, and sees no other request. Made by
/// [`Submitted::lease`], for instances that serve one request at a time.
///
/// Each of its methods is ignored by the pool if the request has timed out, or the instance has ended.
/// Dropping it unreleased cancels the request, which ends the instance.
#[must_use = "dropping a lease cancels its request"]
pub struct Lease<D: Driver> {
    request: Submitted<D>,
    instance: Instance<D>,
    /// Its head is out.
    responded: bool,
    pinned: bool,
}

impl<D: Driver> Lease<D> {
    pub(super) fn new(request: Submitted<D>, instance: Instance<D>) -> Self {
        Self { request, instance, responded: false, pinned: false }
    }

    /// The instance.
    pub fn instance(&self) -> &Instance<D> {
        &self.instance
    }

    /// Which request.
    pub fn request_id(&self) -> RequestId {
        self.request.request_id()
    }

    /// The pool of both.
    pub fn pool(&self) -> &PoolHandle<D> {
        self.request.pool()
    }

    /// The guest has returned from a call, and waits for the host to make the next one. However long that
    /// takes, no timeout runs. See [`InstanceEvent::Pinned`].
    pub fn pin(&mut self) {
        if !std::mem::replace(&mut self.pinned, true) {
            self.pool().report(self.instance.id, InstanceEvent::Pinned(self.request_id()));
        }
    }

    /// The next call begins: the guest has [`request_timeout`](crate::Limits::request_timeout) from now.
    pub fn resume(&mut self) {
        self.pinned = false;
        self.pool().report(self.instance.id, InstanceEvent::Resumed(self.request_id()));
    }

    /// The response's head goes out before the guest has made its last call. From then on it is held to
    /// [`body_stall_timeout`](crate::Limits::body_stall_timeout), counted from the last
    /// [`progress`](Self::progress), and not to `request_timeout`, until it is [resumed](Self::resume); while
    /// it is [pinned](Self::pin), no time runs. If this is true, the caller still waits; if not, it knows
    /// that there will be no response.
    #[must_use]
    pub fn respond(&mut self) -> bool {
        self.pinned = false;
        self.responded = self.pool().responded(self.request_id());
        self.responded
    }

    /// Whether the head is out, by [`respond`](Self::respond).
    pub fn has_responded(&self) -> bool {
        self.responded
    }

    /// A frame of the response's body moved.
    pub fn progress(&mut self) {
        if std::mem::take(&mut self.pinned) {
            // The body's time runs again, so the reaper may have to wake when it is over.
            self.pool().report(self.instance.id, InstanceEvent::Progress(self.request_id()));
        } else {
            self.request.progress(self.instance.id);
        }
    }

    /// The guest has made its last call for this request, pinned or not, works on nothing any more, and
    /// holds so much: the instance is free for the next. If this is true, the caller still waits: answer it;
    /// if not, the request has timed out or the instance has ended, and the caller knows.
    #[must_use]
    pub fn release(mut self, usage: Usage) -> bool {
        let (id, request_id, responded) = (self.instance.id, self.request_id(), self.responded);
        let waits = self.pool().act(|pool, now| {
            let waits = responded || pool.handle_responded(now, request_id);
            if waits {
                pool.handle_instance(now, id, InstanceEvent::Usage(usage));
                pool.handle_instance(now, id, InstanceEvent::Ended(request_id));
                pool.handle_instance(now, id, InstanceEvent::Quiet);
            }
            waits
        });
        // Otherwise, what may be left of it is cancelled.
        if waits {
            self.request.over();
        }
        waits
    }

    /// The request has failed, and its caller knows. Whether the instance can go on is reported apart, as
    /// [`InstanceEvent::Quiet`] or [`InstanceEvent::Broken`].
    pub fn failed(mut self) {
        self.pool().report(self.instance.id, InstanceEvent::Failed(self.request_id()));
        self.request.over();
    }
}

impl<D: Driver> fmt::Debug for Lease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("request", &self.request)
            .field("instance", &self.instance)
            .finish()
    }
}

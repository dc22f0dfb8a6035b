//! What goes into the pool and what comes out of it.

use std::sync::Arc;

use crate::budget::Claim;
use crate::expiration::Asked;
use crate::limits::Limits;
use crate::reason::{Reason, Refusal};
use crate::view::{InstanceId, InstanceView, Load, RequestId};

/// The right to submit one request: a place in the queue or on an instance. Spend it in
/// [`Pool::handle_submit`](crate::state::Pool::handle_submit) or give it back with
/// [`Pool::handle_release`](crate::state::Pool::handle_release); dropping it loses the place.
#[must_use = "a permit that is dropped is a place lost: submit with it or release it"]
#[derive(Debug)]
pub struct Permit(pub(crate) ());

/// What the pool wants done. The driver carries it out, outside of any lock, in any order. It must
/// ignore an effect for an instance or a request that is gone by then, except that
/// every [`Start`](Self::Start) must be answered in the end: by [`InstanceEvent::StartFailed`] or
/// [`InstanceEvent::Exhausted`] where no store came of it, otherwise by [`InstanceEvent::Dropped`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect<T, H> {
    /// Start an instance, then report [`InstanceEvent::Started`] or
    /// [`InstanceEvent::StartFailed`].
    Start {
        /// Its name.
        id: InstanceId,
        /// Its handle, new.
        handle: H,
        /// How it will be driven.
        mode: Mode,
        /// An exclusive instance is started by the request it is for, which comes with the start
        /// and is handed over to it with no further effect. `None`: not tied to a request.
        request: Option<(RequestId, T)>,
    },
    /// Hand a request to a live instance.
    Assign {
        /// To which.
        id: InstanceId,
        /// Its handle.
        handle: H,
        /// Which request.
        request_id: RequestId,
        /// The request.
        item: T,
    },
    /// Turn a request away; no guest has seen it.
    Refuse {
        /// Which request.
        request_id: RequestId,
        /// The request.
        item: T,
        /// Why.
        refusal: Refusal,
    },
    /// Tell the caller of a request that was handed over that no response will come.
    Fail {
        /// The instance it was handed to.
        id: InstanceId,
        /// Its handle.
        handle: H,
        /// Which request.
        request_id: RequestId,
        /// Why.
        failure: Failure,
    },
    /// End an instance: stop its guest, drop its store, then report [`InstanceEvent::Dropped`].
    Retire {
        /// Which.
        id: InstanceId,
        /// Its handle.
        handle: H,
        /// Why.
        reason: Reason,
    },
    /// An instance is gone. Its handle comes out so that nothing behind it is dropped inside the
    /// pool.
    Gone {
        /// Its handle.
        handle: H,
    },
    /// A request came back whose caller has left. It comes out so that it is not dropped inside the
    /// pool.
    Discard {
        /// The request.
        item: T,
    },
    /// Poll the instance's policy on this view, and report to
    /// [`Pool::handle_verdict`](crate::state::Pool::handle_verdict), unless there is
    /// [nothing new](crate::expiration::Polled::adds_to).
    Poll {
        /// Its handle.
        handle: H,
        /// The instance as it is.
        view: InstanceView,
        /// The pool's limits.
        limits: Arc<Limits>,
        /// The pool's load.
        load: Load,
        /// What the policy asked for before.
        asked: Asked,
        /// To be given back with the verdict.
        revision: u64,
    },
    /// Tell the budget what the pool holds and wants: [`Budget::handle_claim`](crate::state::Budget::handle_claim).
    /// Only from a pool that has one.
    Claim(Claim),
}

/// How an instance is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// One request at a time, whose own future may drive the guest.
    Exclusive,
    /// Several requests at a time, by a worker of its own.
    Shared,
}

/// Why a request that was handed over gets no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The guest had `request_timeout` and gave no response head.
    RequestTimeout,
    /// The instance did not start within `start_timeout`; no guest saw the request.
    StartTimeout,
    /// Its instance ended for this reason.
    Retired(Reason),
}

/// What happened to an instance, as its driver reports it. A response head has an input of its own,
/// [`Pool::handle_responded`](crate::state::Pool::handle_responded), since it asks a question.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstanceEvent<T> {
    /// The start is complete.
    Started,
    /// The start failed, and there is no store left: the instance is gone. The caller of the
    /// request that came with the start, if any, has been told.
    StartFailed,
    /// The allocator had no room for the instance, which is gone. The request that came with the
    /// start comes back to the head of the queue, and is tried again as stores are dropped and from
    /// time to time, until its deadline.
    Exhausted {
        /// What came with [`Effect::Start`].
        request: Option<(RequestId, T)>,
    },
    /// A shared instance waits for something other than itself: it can take another request.
    Settled,
    /// The guest asks for no more requests for now (component-model backpressure), or takes that
    /// back.
    Backpressure(bool),
    /// A request failed, and its caller has been told.
    Failed(RequestId),
    /// A frame of a request's response body moved. If its guest was [pinned](Self::Pinned), the body's time
    /// runs again.
    Progress(RequestId),
    /// A request's response body has ended.
    Ended(RequestId),
    /// The guest of a request that was handed over waits for the host between two calls. The request
    /// keeps the instance, which is given no other request: it sees both halves of the one. That time is
    /// not the guest's: [`request_timeout`](crate::Limits::request_timeout) does not run, nor does any policy's.
    /// Only for a request that a guest works on, otherwise ignored.
    ///
    /// If the head is out by then, the request counts as streaming all along, and it is
    /// [`body_stall_timeout`](crate::Limits::body_stall_timeout) that stops: no time runs until the
    /// next [`Progress`](Self::Progress) or [`Resumed`](Self::Resumed).
    ///
    /// ```
    /// # use millpond_pool_core::state::{Effect, Pool};
    /// # use millpond_pool_core::{InstanceEvent, Limits};
    /// # use std::time::Instant;
    /// # let mut pool: Pool<&str> = Pool::new(Limits::default(), 0);
    /// # let now = Instant::now();
    /// # let permit = pool.handle_reserve().unwrap();
    /// # let request_id = pool.handle_submit(now, permit, "GET /");
    /// # let Some(Effect::Start { id, .. }) = pool.poll_effect() else { panic!() };
    /// # pool.handle_instance(now, id, InstanceEvent::Started);
    /// // The guest's first half is done. The host may take its time with what comes between.
    /// pool.handle_instance(now, id, InstanceEvent::Pinned(request_id));
    /// assert_eq!((pool.snapshot().busy, pool.snapshot().pinned), (0, 1));
    ///
    /// let later = now + 100 * pool.limits().request_timeout;
    /// pool.handle_timeout(later);
    /// pool.handle_instance(later, id, InstanceEvent::Resumed(request_id));
    /// // The second half. It has `request_timeout` from now.
    /// assert!(pool.handle_responded(later, request_id));
    /// ```
    Pinned(RequestId),
    /// The guest of a pinned request works on it again, and has
    /// [`request_timeout`](crate::Limits::request_timeout) from now. Only for one that is pinned, or whose
    /// head is out, otherwise ignored. Once the head is out, it is the last call: no caller waits for a
    /// head and could be told, so a guest that takes longer is retired.
    Resumed(RequestId),
    /// A request that was handed over, but that no guest has seen, comes back.
    Returned(RequestId, T),
    /// What the guest holds, for its policy. Report it before [`Quiet`](Self::Quiet).
    Usage(Usage),
    /// The guest works on nothing any more.
    Quiet,
    /// It takes no more requests, and ends for this reason when what runs has finished.
    Drain(Reason),
    /// It cannot go on: a trap, an exit, a panic.
    Broken(Reason),
    /// The store has been dropped.
    Dropped,
}

/// What a guest holds.
///
/// ```
/// use millpond_pool_core::Usage;
///
/// let mut usage = Usage::default();
/// (usage.memory, usage.resources) = (1 << 20, 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of linear memory.
    pub memory: usize,
    /// Resources in its table.
    pub resources: usize,
}

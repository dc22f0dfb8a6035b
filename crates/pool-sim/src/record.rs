//! What goes into a pool and what comes out, as the checkers see it: no item, no handle, only names.

use std::task::Poll;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::state::{Claim, Effect};
use millpond_pool_core::{
    Failure, InstanceEvent, InstanceId, Limits, Mode, Reason, Refusal, RequestId,
};

use crate::item::Item;

/// One input, with what the pool answered at once, or one effect.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Reserve(Result<(), Refusal>),
    Release,
    Overloaded,
    Submit(RequestId),
    /// And whether the item came back.
    Cancel(RequestId, bool),
    Timeout,
    Drain,
    Stop,
    Limits(Box<Limits>, Spread),
    Event(InstanceId, Event),
    /// And whether the head may be given to the caller.
    Responded(RequestId, bool),
    Verdict(InstanceId, u64, Poll<Expired>),
    Wake(InstanceId),
    Grant,
    Reclaim,
    Room,

    Start(InstanceId, Mode, Option<RequestId>),
    Assign(InstanceId, RequestId),
    Refuse(RequestId, Refusal),
    Fail(InstanceId, RequestId, Failure),
    Retire(InstanceId, Reason),
    Gone,
    Discard,
    Poll {
        id: InstanceId,
        revision: u64,
        random: f64,
        spare: bool,
    },
    Claim(Claim),
}

/// How [`MaxRequests`](millpond_pool_core::MaxRequests) was made: it does not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) most: Option<u64>,
    pub(crate) shorten: f64,
}

impl Spread {
    /// The quota of an instance with this random number.
    pub(crate) fn quota(self, random: f64) -> u64 {
        let Some(most) = self.most else { return u64::MAX };
        let less = (most as f64 * self.shorten * random).floor() as u64;
        most.saturating_sub(less).max(1)
    }
}

/// [`InstanceEvent`] without items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Started,
    StartFailed,
    Exhausted(Option<RequestId>),
    Settled,
    Backpressure(bool),
    Failed(RequestId),
    Progress(RequestId),
    Ended(RequestId),
    Pinned(RequestId),
    Resumed(RequestId),
    Returned(RequestId),
    Usage,
    Quiet,
    Drain(Reason),
    Broken(Reason),
    Dropped,
}

impl Event {
    pub(crate) fn of(event: &InstanceEvent<Item>) -> Self {
        match event {
            InstanceEvent::Started => Self::Started,
            InstanceEvent::StartFailed => Self::StartFailed,
            InstanceEvent::Exhausted { request } => {
                Self::Exhausted(request.as_ref().map(|(request_id, _)| *request_id))
            }
            InstanceEvent::Settled => Self::Settled,
            InstanceEvent::Backpressure(on) => Self::Backpressure(*on),
            InstanceEvent::Failed(request_id) => Self::Failed(*request_id),
            InstanceEvent::Progress(request_id) => Self::Progress(*request_id),
            InstanceEvent::Ended(request_id) => Self::Ended(*request_id),
            InstanceEvent::Pinned(request_id) => Self::Pinned(*request_id),
            InstanceEvent::Resumed(request_id) => Self::Resumed(*request_id),
            InstanceEvent::Returned(request_id, _) => Self::Returned(*request_id),
            InstanceEvent::Usage(_) => Self::Usage,
            InstanceEvent::Quiet => Self::Quiet,
            InstanceEvent::Drain(reason) => Self::Drain(*reason),
            InstanceEvent::Broken(reason) => Self::Broken(*reason),
            InstanceEvent::Dropped => Self::Dropped,
            other => unreachable!("an event that the simulator does not know: {other:?}"),
        }
    }
}

impl Record {
    pub(crate) fn of(effect: &Effect<Item, ()>) -> Self {
        match effect {
            Effect::Start { id, mode, request, .. } => {
                Self::Start(*id, *mode, request.as_ref().map(|(request_id, _)| *request_id))
            }
            Effect::Assign { id, request_id, .. } => Self::Assign(*id, *request_id),
            Effect::Refuse { request_id, refusal, .. } => Self::Refuse(*request_id, *refusal),
            Effect::Fail { id, request_id, failure, .. } => Self::Fail(*id, *request_id, *failure),
            Effect::Retire { id, reason, .. } => Self::Retire(*id, *reason),
            Effect::Gone { .. } => Self::Gone,
            Effect::Discard { .. } => Self::Discard,
            Effect::Poll { view, revision, .. } => Self::Poll {
                id: view.id,
                revision: *revision,
                random: view.random,
                spare: view.spare,
            },
            Effect::Claim(claim) => Self::Claim(*claim),
            other => unreachable!("an effect that the simulator does not know: {other:?}"),
        }
    }

    /// A number for the trace's hash, and two names.
    pub(crate) fn digest(&self) -> (u64, u64, u64) {
        let reserve = |result: &Result<(), Refusal>| result.map_or_else(|r| 1 + r as u64, |()| 0);
        match self {
            Self::Reserve(result) => (1, reserve(result), 0),
            Self::Release => (2, 0, 0),
            Self::Overloaded => (3, 0, 0),
            Self::Submit(request_id) => (4, request_id.number(), 0),
            Self::Cancel(request_id, back) => (5, request_id.number(), u64::from(*back)),
            Self::Timeout => (6, 0, 0),
            Self::Drain => (7, 0, 0),
            Self::Stop => (8, 0, 0),
            Self::Limits(limits, _) => (9, limits.max_instances as u64, limits.concurrency as u64),
            Self::Event(id, event) => (32 + event.number(), id.number(), event.request_id()),
            Self::Responded(request_id, waits) => (11, request_id.number(), u64::from(*waits)),
            Self::Verdict(id, revision, verdict) => {
                (12 + 64 * u64::from(verdict.is_ready()), id.number(), *revision)
            }
            Self::Wake(id) => (13, id.number(), 0),
            Self::Grant => (14, 0, 0),
            Self::Reclaim => (15, 0, 0),
            Self::Room => (16, 0, 0),
            Self::Start(id, mode, request_id) => {
                let shared = u64::from(*mode == Mode::Shared);
                (17 + 64 * shared, id.number(), request_id.map_or(0, RequestId::number))
            }
            Self::Assign(id, request_id) => (18, id.number(), request_id.number()),
            Self::Refuse(request_id, refusal) => (19, request_id.number(), *refusal as u64),
            Self::Fail(id, request_id, _) => (20, id.number(), request_id.number()),
            Self::Retire(id, reason) => (21, id.number(), *reason as u64),
            Self::Gone => (22, 0, 0),
            Self::Discard => (23, 0, 0),
            Self::Poll { id, revision, .. } => (24, id.number(), *revision),
            Self::Claim(claim) => (25, claim.revision, (claim.wanted + claim.spares) as u64),
        }
    }
}

impl Event {
    fn number(self) -> u64 {
        match self {
            Self::Started => 0,
            Self::StartFailed => 1,
            Self::Exhausted(_) => 2,
            Self::Settled => 3,
            Self::Backpressure(false) => 4,
            Self::Backpressure(true) => 5,
            Self::Failed(_) => 6,
            Self::Progress(_) => 7,
            Self::Ended(_) => 8,
            Self::Returned(_) => 9,
            Self::Usage => 10,
            Self::Quiet => 11,
            Self::Drain(_) => 12,
            Self::Broken(_) => 13,
            Self::Dropped => 14,
            Self::Pinned(_) => 15,
            Self::Resumed(_) => 16,
        }
    }

    fn request_id(self) -> u64 {
        match self {
            Self::Exhausted(request_id) => request_id.map_or(0, RequestId::number),
            Self::Failed(request_id)
            | Self::Progress(request_id)
            | Self::Ended(request_id)
            | Self::Pinned(request_id)
            | Self::Resumed(request_id)
            | Self::Returned(request_id) => request_id.number(),
            Self::Drain(reason) | Self::Broken(reason) => reason as u64,
            _ => 0,
        }
    }
}

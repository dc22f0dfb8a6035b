//! The requests of a pool: those that wait, and those on instances.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::view::{InstanceId, RequestId};

/// Where a request is. Its outcome is counted when it leaves `Queued`, `Starting`, `Busy` and
/// `Pinned` for anything but one another; what comes after is about the guest, not about the caller.
#[derive(Debug)]
pub(super) enum Stage<T> {
    /// In the queue. Followed by `Starting`, `Busy`, or an outcome.
    Queued { item: T, deadline: Option<Instant> },
    /// Its own instance is starting. Followed by `Busy`, `Queued`, or an outcome.
    Starting { instance: InstanceId },
    /// Handed over; waits for its response head. Followed by `Pinned`, `Streaming`, `Abandoned`,
    /// `Queued`. The guest is at work since the hand-over, or since it was last resumed.
    Busy { instance: InstanceId, since: Instant, at_work: Instant, deadline: Option<Instant> },
    /// Its guest waits for the host between two calls. Followed by `Busy` and what follows that.
    Pinned { instance: InstanceId, since: Instant },
    /// The head is out, the body is open.
    Streaming { instance: InstanceId, since: Instant, clock: Clock },
    /// Its caller has left, and its guest, which other requests share, goes on.
    Abandoned {
        instance: InstanceId,
        since: Instant,
        at_work: Instant,
        then: Then,
        deadline: Option<Instant>,
    },
}

/// Whose time runs while a body is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// That of the body, which moved last at this time.
    Body { moved: Instant },
    /// No time runs: the guest is kept for the end of the body, and the host waits for more of it.
    Stopped,
    /// The guest's, for its last call.
    Call { deadline: Option<Instant> },
}

/// What happens at an abandoned request's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Its caller left before `request_timeout`: the instance closes, and has as long again.
    Close,
    /// The guest had twice its time: the instance ends.
    Retire,
}

impl<T> Stage<T> {
    pub(super) fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Queued { .. } => None,
            Self::Starting { instance }
            | Self::Busy { instance, .. }
            | Self::Pinned { instance, .. }
            | Self::Streaming { instance, .. }
            | Self::Abandoned { instance, .. } => Some(*instance),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Busy { deadline, .. }
            | Self::Abandoned { deadline, .. }
            | Self::Streaming { clock: Clock::Call { deadline }, .. } => *deadline,
            Self::Queued { .. }
            | Self::Starting { .. }
            | Self::Pinned { .. }
            | Self::Streaming { .. } => None,
        }
    }

    /// When it was handed over.
    pub(super) fn handed_over(&self) -> Option<Instant> {
        match self {
            Self::Busy { since, .. }
            | Self::Pinned { since, .. }
            | Self::Streaming { since, .. }
            | Self::Abandoned { since, .. } => Some(*since),
            Self::Queued { .. } | Self::Starting { .. } => None,
        }
    }

    /// Whether a guest has it and its caller still waits for the head.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Pinned { .. })
    }

    /// Whether an instance has it and it has had no outcome.
    pub(super) fn awaits_outcome(&self) -> bool {
        self.awaits_head() || matches!(self, Self::Starting { .. })
    }

    /// Its caller leaves it to its guest. One that is pinned has its time from now: the host that would
    /// have resumed it may be gone too.
    pub(super) fn leave_to_guest(&mut self, now: Instant, timeout: Duration) {
        let (instance, since, at_work, deadline) = match *self {
            Self::Busy { instance, since, at_work, deadline } => {
                (instance, since, at_work, deadline)
            }
            Self::Pinned { instance, since } => (instance, since, now, now.checked_add(timeout)),
            _ => return,
        };
        let then = Then::Close;
        *self = Self::Abandoned { instance, since, at_work, then, deadline };
    }

    /// Whether its guest was given up on: it need not be waited for.
    pub(super) fn is_overdue(&self) -> bool {
        matches!(self, Self::Abandoned { then: Then::Retire, .. })
    }
}

#[derive(Debug)]
struct Request<T> {
    submitted: Instant,
    /// When it last left the queue.
    left_queue: Instant,
    stage: Stage<T>,
}

/// All requests between submission and the end of their body, with the queue as a view on them.
#[derive(Debug)]
pub(super) struct Requests<T> {
    all: Arena<Request<T>>,
    /// The queue, oldest first: a request that comes back takes its old place.
    queue: BTreeSet<RequestId>,
    deadlines: BTreeSet<(Instant, RequestId)>,
}

impl<T> Requests<T> {
    pub(super) fn new() -> Self {
        Self { all: Arena::new(), queue: BTreeSet::new(), deadlines: BTreeSet::new() }
    }

    pub(super) fn submit(&mut self, now: Instant, item: T, deadline: Option<Instant>) -> RequestId {
        let stage = Stage::Queued { item, deadline };
        let request_id =
            RequestId(self.all.insert(Request { submitted: now, left_queue: now, stage }));
        self.enter_queue(request_id, deadline);
        request_id
    }

    /// A request that need not wait: it comes to be in `stage` at once.
    pub(super) fn submit_served(&mut self, now: Instant, stage: Stage<T>) -> RequestId {
        RequestId(self.all.insert(Request { submitted: now, left_queue: now, stage }))
    }

    /// Puts a request back into the queue, at the place it had. One that is unknown comes back.
    pub(super) fn requeue(
        &mut self,
        request_id: RequestId,
        item: T,
        timeout: Duration,
    ) -> Option<T> {
        let Some(request) = self.all.get_mut(request_id.0) else { return Some(item) };
        let deadline = request.submitted.checked_add(timeout);
        request.stage = Stage::Queued { item, deadline };
        self.enter_queue(request_id, deadline);
        None
    }

    fn enter_queue(&mut self, request_id: RequestId, deadline: Option<Instant>) {
        self.queue.insert(request_id);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, request_id));
        }
    }

    /// Moves the head of the queue to `stage`, and gives out its item.
    pub(super) fn take_head(&mut self, now: Instant, stage: Stage<T>) -> Option<(RequestId, T)> {
        let request_id = *self.queue.first()?;
        let item = self.leave_queue(request_id, Some(stage))?;
        self.all.get_mut(request_id.0)?.left_queue = now;
        Some((request_id, item))
    }

    /// Removes a request that waits.
    pub(super) fn remove_queued(&mut self, request_id: RequestId) -> Option<T> {
        self.leave_queue(request_id, None)
    }

    fn leave_queue(&mut self, request_id: RequestId, stage: Option<Stage<T>>) -> Option<T> {
        if !self.queue.remove(&request_id) {
            return None;
        }
        let old = match stage {
            Some(stage) => std::mem::replace(&mut self.all.get_mut(request_id.0)?.stage, stage),
            None => self.all.remove(request_id.0)?.stage,
        };
        let Stage::Queued { item, deadline } = old else { return None };
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, request_id));
        }
        Some(item)
    }

    /// How long a request waited in the queue.
    pub(super) fn waited(&self, request_id: RequestId) -> Duration {
        let request = self.all.get(request_id.0);
        request.map_or(Duration::ZERO, |request| {
            request.left_queue.saturating_duration_since(request.submitted)
        })
    }

    pub(super) fn stage(&self, request_id: RequestId) -> Option<&Stage<T>> {
        self.all.get(request_id.0).map(|request| &request.stage)
    }

    pub(super) fn stage_mut(&mut self, request_id: RequestId) -> Option<&mut Stage<T>> {
        self.all.get_mut(request_id.0).map(|request| &mut request.stage)
    }

    /// Removes a request that is on an instance.
    pub(super) fn remove(&mut self, request_id: RequestId) {
        debug_assert!(!self.queue.contains(&request_id), "a queued request is removed as one");
        self.all.remove(request_id.0);
    }

    /// Waiting requests.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The waiting request with `ahead` others before it.
    pub(super) fn queued_at(&self, ahead: usize) -> Option<RequestId> {
        self.queue.iter().nth(ahead).copied()
    }

    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// A waiting request whose deadline has come, removed.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(RequestId, T)> {
        let (deadline, request_id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        Some((request_id, self.remove_queued(request_id)?))
    }

    /// All requests, the streaming and the abandoned included.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn stages(&self) -> impl Iterator<Item = &Stage<T>> {
        self.all.iter().map(|(_, request)| &request.stage)
    }
}

//! One instance, as the pool keeps it.

use std::time::{Duration, Instant};

use crate::effect::Usage;
use crate::reason::Reason;
use crate::view::{InstanceId, InstanceView, RequestId, Status};

use super::counts::gauge::Gauge;
use super::request::{Clock, Requests, Stage};
use super::seats::Seats;
use super::sooner;

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet usable. Followed by `Open`, `Retiring`, or nothing at all if the start failed.
    Starting,
    /// Takes requests while it has room. Followed by `Closing` or `Retiring`.
    Open,
    /// Takes no more requests; ends when what runs has finished. Followed by `Retiring`.
    Closing(Reason),
    /// The driver was told to drop the store. Ends with the report that it did.
    Retiring(Reason),
}

#[derive(Debug)]
pub(super) struct Instance<H> {
    pub(super) handle: H,
    pub(super) phase: Phase,
    /// Takes several requests at a time, driven by a worker of its own.
    pub(super) shared: bool,
    /// Started ahead, without a request.
    pub(super) spare: bool,
    /// Uniform, from 0 to below 1.
    pub(super) random: f64,
    /// Requests it may serve in its life.
    pub(super) quota: u64,
    /// Requests it was given.
    pub(super) given: u64,
    /// The requests on it.
    pub(super) requests: Seats,
    /// For a shared instance that is starting: the request that caused the start.
    pub(super) start_for: Option<RequestId>,
    /// When the start must be complete.
    pub(super) start_deadline: Option<Instant>,
    pub(super) started: Instant,
    /// The guest has been given something since it was last quiet.
    pub(super) working: bool,
    /// `Some` from a hand-over until the guest waits: until then, it counts as about to have room.
    pub(super) settling: Option<Settling>,
    pub(super) backpressure: bool,
    /// A request on it is pinned: until that one goes on, no other is let in.
    pub(super) pinned: bool,
    pub(super) usage: Usage,
    /// What it is counted as.
    pub(super) gauge: Gauge,
    /// Its place among the instances with room: the larger, the later it was used.
    pub(super) ready: Option<u64>,
    /// For how many requests it was last counted as having room soon.
    pub(super) counted_coming: usize,
    pub(super) status: Status,
    pub(super) since: Instant,
    /// Its entry among the timers; the clock may find it early, never late.
    pub(super) timer: Option<Instant>,
    /// When the policy wants to be polled.
    pub(super) policy_wake: Option<Instant>,
    /// For how long after a change of the view the policy asks for nothing.
    pub(super) steady_for: Duration,
    /// Counts the views; a verdict on an older one is thrown away.
    pub(super) revision: u64,
    /// How loaded the pool was when the policy was last polled.
    pub(super) load_level: (bool, bool),
    /// It is among those that are told when that changes.
    pub(super) watches_load: bool,
    /// The policy has not yet seen the newest view.
    pub(super) dirty: bool,
}

/// A shared instance computes since it was given a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling {
    /// When requests that wait stop waiting for it; `None`: never.
    pub(super) until: Option<Instant>,
    pub(super) over: bool,
}

impl<H> Instance<H> {
    /// How many more requests it could be given right now.
    pub(super) fn room(&self, concurrency: usize) -> usize {
        if self.phase != Phase::Open || !self.takes_requests() {
            return 0;
        }
        self.seats_left(concurrency)
    }

    /// How many requests it will have room for, once it has started or settled.
    pub(super) fn coming(&self, concurrency: usize) -> usize {
        let soon = match self.phase {
            Phase::Starting => self.shared || self.spare,
            Phase::Open => {
                let settles = self.settling.is_some_and(|settling| !settling.over);
                settles && !self.backpressure && !self.pinned
            }
            Phase::Closing(_) | Phase::Retiring(_) => false,
        };
        if soon { self.seats_left(concurrency) } else { 0 }
    }

    /// Nothing in the guest holds requests back.
    pub(super) fn takes_requests(&self) -> bool {
        !self.backpressure && !self.pinned && self.settling.is_none()
    }

    fn seats_left(&self, concurrency: usize) -> usize {
        let left = if self.shared {
            concurrency.max(1).saturating_sub(self.requests.len())
        } else {
            usize::from(self.requests.is_empty() && !self.working)
        };
        let quota = self.quota.saturating_sub(self.given);
        let quota = usize::try_from(quota).unwrap_or(usize::MAX);
        left.min(quota)
    }

    /// Whether it was made ahead and has not been of use yet.
    pub(super) fn is_spare(&self) -> bool {
        self.spare && self.given == 0
    }

    pub(super) fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Starting | Phase::Retiring(_))
    }

    pub(super) fn status_now<T>(&self, requests: &Requests<T>) -> Status {
        let (mut pinned, mut streaming) = (false, false);
        for stage in self.requests.iter().filter_map(|request_id| requests.stage(*request_id)) {
            match stage {
                Stage::Streaming { .. } => streaming = true,
                Stage::Pinned { .. } => pinned = true,
                _ => return Status::Busy,
            }
        }
        match (pinned, streaming, self.working) {
            (true, ..) => Status::Pinned,
            (false, true, _) => Status::Streaming,
            (false, false, true) => Status::PostReturn,
            (false, false, false) => Status::Idle,
        }
    }

    pub(super) fn has_pinned<T>(&self, requests: &Requests<T>) -> bool {
        let mut stages = self.requests.iter().filter_map(|request_id| requests.stage(*request_id));
        stages.any(|stage| matches!(stage, Stage::Pinned { .. }))
    }

    pub(super) fn view<T>(&self, id: InstanceId, requests: &Requests<T>) -> InstanceView {
        let mut view = InstanceView {
            id,
            status: self.status,
            since: self.since,
            started: self.started,
            busy: 0,
            pinned: 0,
            streaming: 0,
            requests: self.given,
            newest_busy: None,
            stalled_since: None,
            last_moved: None,
            memory: self.usage.memory,
            resources: self.usage.resources,
            spare: self.is_spare(),
            random: self.random,
        };
        let mut all_run = true;
        for stage in self.requests.iter().filter_map(|request_id| requests.stage(*request_id)) {
            match stage {
                Stage::Streaming { clock, .. } => {
                    view.streaming += 1;
                    if let Clock::Body { moved } = clock {
                        view.stalled_since = sooner(view.stalled_since, Some(*moved));
                        view.last_moved = view.last_moved.max(Some(*moved));
                    } else {
                        all_run = false;
                    }
                }
                Stage::Busy { at_work, .. } | Stage::Abandoned { at_work, .. } => {
                    view.busy += 1;
                    view.newest_busy = view.newest_busy.max(Some(*at_work));
                }
                Stage::Pinned { .. } => view.pinned += 1,
                Stage::Queued { .. } | Stage::Starting { .. } => {}
            }
        }
        view.last_moved = view.last_moved.filter(|_| all_run);
        view
    }

    /// The earliest time at which something about it must be looked at.
    pub(super) fn next_deadline<T>(&self, requests: &Requests<T>) -> Option<Instant> {
        let own = match self.phase {
            Phase::Retiring(_) => return None,
            Phase::Starting => [self.start_deadline, None],
            Phase::Open | Phase::Closing(_) => {
                let settling = self.settling.filter(|settling| !settling.over);
                [self.policy_wake, settling.and_then(|settling| settling.until)]
            }
        };
        let stages = self.requests.iter().filter_map(|request_id| requests.stage(*request_id));
        own.into_iter().chain(stages.map(Stage::deadline)).fold(None, sooner)
    }
}

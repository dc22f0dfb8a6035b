//! What a policy is polled with, and what comes of it.

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::{Expired, InstanceExpiration};
use crate::limits::Limits;
use crate::view::{InstanceView, Load};

/// For how long a policy has to be steady so that it is worth telling: the clock is looked at that often.
const WORTH_TELLING: Duration = Duration::from_millis(100);

/// What a policy is polled with.
#[derive(Clone, Debug)]
pub struct ExpirationContext<'a> {
    now: Instant,
    view: &'a InstanceView,
    limits: Option<&'a Limits>,
    load: Load,
    waker: Waken<'a>,
    wake_at: Option<Instant>,
    watches_load: bool,
    /// What is left of times and counts after the shortening.
    keep: f64,
}

/// Most policies never ask for their waker.
#[derive(Clone, Copy)]
enum Waken<'a> {
    With(&'a Waker),
    /// Made and kept when it is first asked for.
    Later(&'a OnceLock<Waker>, &'a (dyn Fn() -> Waker + Sync)),
}

impl fmt::Debug for Waken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(waker) => waker.fmt(f),
            Self::Later(waker, _) => waker.fmt(f),
        }
    }
}

impl<'a> ExpirationContext<'a> {
    /// A context, as the test of a policy makes it: of a pool with default limits and no load.
    pub fn new(now: Instant, view: &'a InstanceView, waker: &'a Waker) -> Self {
        Self::waking(now, view, Waken::With(waker))
    }

    /// The same, with a waker that is made if the policy asks for it.
    pub(crate) fn waking_later(
        now: Instant,
        view: &'a InstanceView,
        kept: &'a OnceLock<Waker>,
        make: &'a (dyn Fn() -> Waker + Sync),
    ) -> Self {
        Self::waking(now, view, Waken::Later(kept, make))
    }

    fn waking(now: Instant, view: &'a InstanceView, waker: Waken<'a>) -> Self {
        let (load, wake_at, watches_load) = (Load::default(), None, false);
        Self { now, view, limits: None, load, waker, wake_at, watches_load, keep: 1.0 }
    }

    /// The same, of a pool with these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: &'a Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The same, of a pool with this load.
    #[must_use]
    pub fn with_load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    /// The time of this poll.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The instance as it is.
    pub fn view(&self) -> &'a InstanceView {
        self.view
    }

    /// The limits of its pool. Policies are polled again when these change.
    pub fn limits(&self) -> &'a Limits {
        static DEFAULT: OnceLock<Limits> = OnceLock::new();
        self.limits.unwrap_or_else(|| DEFAULT.get_or_init(Limits::default))
    }

    /// The load of its pool. Asking for it gets the policy polled again when that changes: see
    /// [`Load`].
    ///
    /// ```
    /// use millpond_pool_core::expiration::{Expired, from_fn};
    /// use millpond_pool_core::{Reason, Status};
    /// use std::task::Poll;
    ///
    /// // Keeps no more than four idle instances while no request waits.
    /// let policy = from_fn(|cx| {
    ///     let load = cx.load();
    ///     if cx.view().status == Status::Idle && load.idle > 4 && load.queued == 0 {
    ///         Poll::Ready(Expired::Retire(Reason::Idle))
    ///     } else {
    ///         Poll::Pending
    ///     }
    /// });
    /// ```
    pub fn load(&mut self) -> Load {
        self.watches_load = true;
        self.load
    }

    /// Waking it gets the policy polled again.
    pub fn waker(&self) -> &'a Waker {
        match self.waker {
            Waken::With(waker) => waker,
            Waken::Later(kept, make) => kept.get_or_init(make),
        }
    }

    /// Asks to be polled again at `at`, unless something asks for an earlier time.
    pub fn wake_at(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Expired if `after`, shortened, has passed since `since`; otherwise asks to be polled when it
    /// has. A time too far away to be named is never.
    pub fn expire_at(
        &mut self,
        since: Instant,
        after: Duration,
        verdict: Expired,
    ) -> Poll<Expired> {
        match since.checked_add(self.shorten(after)) {
            Some(at) if at <= self.now => Poll::Ready(verdict),
            Some(at) => {
                self.wake_at(at);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }

    /// A time as [`jitter`](super::InstanceExpiration::jitter) shortens it. [`Duration::MAX`], which
    /// means never, stays.
    pub fn shorten(&self, time: Duration) -> Duration {
        if self.keep == 1.0 || time == Duration::MAX { time } else { time.mul_f64(self.keep) }
    }

    /// A count as [`jitter`](super::InstanceExpiration::jitter) shortens it; not below 1, if it was
    /// not.
    pub fn shorten_count(&self, count: u64) -> u64 {
        if self.keep == 1.0 {
            return count;
        }
        ((count as f64 * self.keep) as u64).clamp(count.min(1), count)
    }

    /// The earliest time asked for.
    pub fn requested_wake(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Polls a policy, and ends the poll with all that came of it.
    pub fn poll<P: InstanceExpiration + ?Sized>(mut self, mut policy: Pin<&mut P>) -> Polled {
        let verdict = policy.as_mut().poll_expired(&mut self);
        let steady = match verdict {
            Poll::Pending => policy.steady_for(&self),
            Poll::Ready(_) => Duration::ZERO,
        };
        self.finish(verdict).steady_for(steady)
    }

    /// The end of a poll, for [`Pool::handle_verdict`](crate::state::Pool::handle_verdict).
    pub fn finish(self, verdict: Poll<Expired>) -> Polled {
        let (wake_at, watches_load) = (self.wake_at, self.watches_load);
        Polled { verdict, wake_at, watches_load, steady_for: Duration::ZERO }
    }

    pub(super) fn with_shortening<R>(&mut self, keep: f64, poll: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.keep;
        self.keep = outer * keep;
        let result = poll(self);
        self.keep = outer;
        result
    }
}

/// What came of polling a policy. Made by [`ExpirationContext::finish`], or from a verdict.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    pub(crate) verdict: Poll<Expired>,
    pub(crate) wake_at: Option<Instant>,
    pub(crate) watches_load: bool,
    pub(crate) steady_for: Duration,
}

impl Polled {
    /// Whether it has expired.
    pub fn verdict(&self) -> Poll<Expired> {
        self.verdict
    }

    /// The same, and the policy is [steady](InstanceExpiration::steady_for) for so long.
    #[must_use]
    pub fn steady_for(mut self, time: Duration) -> Self {
        self.steady_for = if time < WORTH_TELLING { Duration::ZERO } else { time };
        self
    }

    /// The same, and the policy wants to be polled again at `at`.
    #[must_use]
    pub fn wake_at(mut self, at: Instant) -> Self {
        self.wake_at = Some(at);
        self
    }
}

impl Polled {
    /// Whether a pool that keeps what the policy has asked for before must be told of this. A time to be
    /// polled at that is too early does no harm: the policy asks anew then.
    pub fn adds_to(&self, asked: Asked) -> bool {
        let in_time = match (self.wake_at, asked.wake_at) {
            (Some(wanted), Some(kept)) => kept <= wanted,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let steady = !self.steady_for.is_zero();
        self.verdict.is_ready() || steady || self.watches_load || asked.watches_load || !in_time
    }
}

/// What an instance's policy has asked for, as its pool keeps it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub(crate) wake_at: Option<Instant>,
    pub(crate) watches_load: bool,
}

impl From<Poll<Expired>> for Polled {
    /// A verdict, and nothing asked for.
    fn from(verdict: Poll<Expired>) -> Self {
        Self { verdict, wake_at: None, watches_load: false, steady_for: Duration::ZERO }
    }
}

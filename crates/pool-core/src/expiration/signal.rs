//! Policies that follow something outside the pool.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{ExpirationContext, Expired, InstanceExpiration};
use crate::sync::{Mutex, lock};
use crate::view::Status;

/// A flag that is raised and lowered from outside, and that policies follow: a machine that
/// is short of memory, an operator who wants idle instances gone. Clones are the same signal; any number of
/// instances in any number of pools may follow it.
///
/// It is followed as it is at the moment, by new instances too: while a signal is raised that is followed
/// without [`when_idle`](Follow::when_idle), every instance ends as soon as its policy is polled, and
/// requests wait for it to be lowered, or for their deadline.
///
/// ```
/// use millpond_pool_core::Reason;
/// use millpond_pool_core::expiration::{Expired, InstanceExpiration, Signal, idle_timeout};
/// use std::time::Duration;
///
/// let short_of_memory = Signal::new();
///
/// // Each instance's policy: idle ones go at once while it is raised, after 10 s otherwise.
/// let early = short_of_memory.follow(Expired::Retire(Reason::Memory)).when_idle();
/// let policy = idle_timeout(Duration::from_secs(10)).or(early);
///
/// short_of_memory.raise();
/// assert!(short_of_memory.is_raised());
/// short_of_memory.lower();
/// ```
#[derive(Clone, Default)]
pub struct Signal {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    raised: bool,
    followers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Signal {
    /// A signal that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expires what follows it.
    pub fn raise(&self) {
        self.set(true);
    }

    /// Ends that. Instances that were told to end already do so.
    pub fn lower(&self) {
        self.set(false);
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        lock(&self.state).raised
    }

    /// A policy that gives this verdict while the signal is raised.
    pub fn follow(&self, verdict: Expired) -> Follow {
        let mut state = lock(&self.state);
        state.next += 1;
        Follow {
            signal: self.clone(),
            key: state.next,
            verdict,
            when_idle: false,
            was_raised: false,
        }
    }

    fn set(&self, raised: bool) {
        let wakers: Vec<Waker> = {
            let mut state = lock(&self.state);
            if std::mem::replace(&mut state.raised, raised) == raised {
                return;
            }
            state.followers.values().cloned().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("raised", &self.is_raised()).finish()
    }
}

/// Ends an instance while a signal is raised. Made by [`Signal::follow`].
#[derive(Debug)]
pub struct Follow {
    signal: Signal,
    key: u64,
    verdict: Expired,
    when_idle: bool,
    /// When it was polled last.
    was_raised: bool,
}

impl Follow {
    /// Only while the instance has nothing to do. Spares stay: others would be made in their place.
    #[must_use]
    pub fn when_idle(mut self) -> Self {
        self.when_idle = true;
        self
    }
}

impl InstanceExpiration for Follow {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        // Cloned and dropped outside the lock: wakers are other people's code.
        let waker = cx.waker().clone();
        let (raised, old) = {
            let mut state = lock(&self.signal.state);
            (state.raised, state.followers.insert(self.key, waker))
        };
        drop(old);
        self.was_raised = raised;
        let view = cx.view();
        let idle = view.status == Status::Idle && !view.spare;
        if raised && (idle || !self.when_idle) { Poll::Ready(self.verdict) } else { Poll::Pending }
    }

    /// It is woken when it is raised.
    fn steady_for(&self, _: &ExpirationContext<'_>) -> Duration {
        if self.was_raised { Duration::ZERO } else { Duration::MAX }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let waker = lock(&self.signal.state).followers.remove(&self.key);
        drop(waker);
    }
}

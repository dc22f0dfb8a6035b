//! Keeps the pool's deadlines: one timer for all of them.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::sync::lock;
use crate::view::InstanceId;

use super::{Driver, Inner, PoolHandle, Runtime};

/// What the reaper leaves under the pool's lock for those who must wake it.
#[derive(Default)]
pub(super) struct ReaperState {
    waker: Option<Waker>,
    /// Until when it sleeps; `None`: until it is woken.
    until: Option<Instant>,
    /// The deadline it was last woken for. It sleeps until then also if that is void by the time it looks:
    /// else each request that comes to an idle pool, and is gone soon, would wake it.
    wanted: Option<Instant>,
    /// Whose policies were woken since it looked.
    pub(super) woken: BTreeSet<InstanceId>,
}

impl ReaperState {
    /// The waker, if something is due before the reaper would look.
    pub(super) fn rouse_for(&mut self, deadline: Option<Instant>) -> Option<Waker> {
        match (deadline, self.until) {
            (Some(deadline), Some(until)) if deadline < until => self.rouse_by(deadline),
            (Some(deadline), None) => self.rouse_by(deadline),
            _ => None,
        }
    }

    fn rouse_by(&mut self, deadline: Instant) -> Option<Waker> {
        self.wanted = Some(deadline);
        self.rouse()
    }

    /// The waker. The reaper leaves another when it has looked.
    pub(super) fn rouse(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

/// The task that calls [`Pool::handle_timeout`](crate::state::Pool::handle_timeout). Ends with the pool.
pub(super) struct Reaper<D: Driver> {
    pool: Weak<Inner<D>>,
    sleep: Option<(Instant, PinnedSleep<D>)>,
}

type PinnedSleep<D> = Pin<Box<<<D as Driver>::Runtime as Runtime>::Sleep>>;

impl<D: Driver> Reaper<D> {
    pub(super) fn new(pool: Weak<Inner<D>>) -> Self {
        Self { pool, sleep: None }
    }
}

impl<D: Driver> Future for Reaper<D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(inner) = self.pool.upgrade() else { return Poll::Ready(()) };
        let pool = PoolHandle(inner);
        loop {
            let woken = std::mem::take(&mut lock(&pool.0.state).reaper.woken);
            // The clock decides, the timer only wakes.
            let now = pool.act(|pool, now| {
                woken.into_iter().for_each(|id| pool.handle_policy_wake(id));
                pool.handle_timeout(now);
                now
            });
            let waker = cx.waker().clone();
            let (until, again, old) = {
                let mut state = lock(&pool.0.state);
                let deadline = state.pool.poll_timeout();
                let reaper = &mut state.reaper;
                reaper.wanted = reaper.wanted.filter(|at| *at > now);
                let until = deadline.into_iter().chain(reaper.wanted).min();
                reaper.until = until;
                let again = !state.reaper.woken.is_empty();
                (until, again, state.reaper.waker.replace(waker))
            };
            drop(old);
            if again {
                // Woken while there was no waker to take. In another turn, since a policy may
                // wake itself whenever it is polled.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(until) = until else {
                self.sleep = None;
                return Poll::Pending;
            };
            let sleep = match self.sleep.take() {
                Some((at, sleep)) if at == until => (at, sleep),
                _ => (until, Box::pin(pool.0.driver.runtime().sleep_until(until))),
            };
            let (_, sleep) = self.sleep.insert(sleep);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
    }
}

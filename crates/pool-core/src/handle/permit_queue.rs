//! Permits that are waited for, first come, first served.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::effect::Permit;
use crate::error::Error;
use crate::pool::Pool;
use crate::reason::Refusal;

use super::{Driver, PoolHandle};

/// A permit that gives itself back when dropped.
#[must_use = "dropping a permit gives it back"]
pub struct OwnedPermit<D: Driver> {
    pool: PoolHandle<D>,
    permit: Option<Permit>,
}

impl<D: Driver> OwnedPermit<D> {
    pub(super) fn new(pool: PoolHandle<D>, permit: Permit) -> Self {
        Self { pool, permit: Some(permit) }
    }

    pub(super) fn spend(mut self) -> Permit {
        self.permit.take().expect("a permit is spent once, by value")
    }
}

impl<D: Driver> Drop for OwnedPermit<D> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.pool.act(|pool, _| pool.handle_release(permit));
        }
    }
}

impl<D: Driver> fmt::Debug for OwnedPermit<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnedPermit")
    }
}

/// Waits for a permit. Made by [`PoolHandle::reserve`].
#[must_use = "futures do nothing unless polled"]
pub struct Reserve<D: Driver> {
    pool: PoolHandle<D>,
    /// Its number in the queue, once it stands there.
    place: Option<u64>,
}

impl<D: Driver> Reserve<D> {
    pub(super) fn new(pool: PoolHandle<D>) -> Self {
        Self { pool, place: None }
    }
}

impl<D: Driver> Future for Reserve<D> {
    type Output = Result<OwnedPermit<D>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.place;
        // Cloned and dropped outside the lock: wakers are other people's code.
        let mut wakers = Wakers { new: Some(cx.waker().clone()), old: None };
        let polled = self.pool.with_permits(|pool, permits| permits.poll(pool, place, &mut wakers));
        drop(wakers);
        match polled {
            Ok(PollPermit::Waits(place)) => {
                self.place = Some(place);
                Poll::Pending
            }
            Ok(PollPermit::Has(permit)) => {
                self.place = None;
                Poll::Ready(Ok(OwnedPermit::new(self.pool.clone(), permit)))
            }
            Err(refusal) => {
                self.place = None;
                Poll::Ready(Err(refusal.into()))
            }
        }
    }
}

impl<D: Driver> Drop for Reserve<D> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // A permit that was granted meanwhile goes to the next in the queue.
            let waker = self.pool.with_permits(|pool, permits| permits.leave(pool, place));
            drop(waker);
        }
    }
}

impl<D: Driver> fmt::Debug for Reserve<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("place", &self.place).finish()
    }
}

/// What goes into the queue, and what comes out to be dropped.
struct Wakers {
    new: Option<Waker>,
    old: Option<Waker>,
}

pub(super) enum PollPermit {
    Waits(u64),
    Has(Permit),
}

/// Those who wait for a permit, and those who have been granted one and have not yet come for it.
#[derive(Default)]
pub(super) struct PermitQueue {
    next: u64,
    waiting: BTreeMap<u64, Waker>,
    granted: BTreeMap<u64, Permit>,
}

impl PermitQueue {
    fn poll<T, H: Clone + Default>(
        &mut self,
        pool: &mut Pool<T, H>,
        place: Option<u64>,
        wakers: &mut Wakers,
    ) -> Result<PollPermit, Refusal> {
        if let Some(permit) = place.and_then(|place| self.granted.remove(&place)) {
            return Ok(PollPermit::Has(permit));
        }
        // A newcomer does not overtake the waiting.
        if place.is_none() && self.waiting.is_empty() {
            match pool.handle_reserve() {
                Ok(permit) => return Ok(PollPermit::Has(permit)),
                Err(Refusal::Overloaded) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        if pool.is_draining() {
            return Err(Refusal::Draining);
        }
        let place = place.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        if let Some(waker) = wakers.new.take() {
            wakers.old = self.waiting.insert(place, waker);
        }
        Ok(PollPermit::Waits(place))
    }

    /// Returns a permit for a caller that does not wait.
    pub(super) fn reserve<T, H: Clone + Default>(
        &self,
        pool: &mut Pool<T, H>,
    ) -> Result<Permit, Refusal> {
        // A newcomer does not overtake the waiting.
        if !self.waiting.is_empty() && !pool.is_draining() {
            return Err(Refusal::Overloaded);
        }
        pool.handle_reserve()
    }

    fn leave<T, H: Clone + Default>(&mut self, pool: &mut Pool<T, H>, place: u64) -> Option<Waker> {
        if let Some(permit) = self.granted.remove(&place) {
            pool.handle_release(permit);
        }
        self.waiting.remove(&place)
    }

    /// Gives free permits to those who wait; their wakers are to be woken outside the lock.
    #[inline]
    pub(super) fn grant<T, H: Clone + Default>(
        &mut self,
        pool: &mut Pool<T, H>,
        wakers: &mut Vec<Waker>,
    ) {
        if !self.waiting.is_empty() {
            self.grant_to_waiting(pool, wakers);
        }
    }

    fn grant_to_waiting<T, H: Clone + Default>(
        &mut self,
        pool: &mut Pool<T, H>,
        wakers: &mut Vec<Waker>,
    ) {
        if pool.is_draining() {
            // They find out when they look.
            wakers.extend(std::mem::take(&mut self.waiting).into_values());
            return;
        }
        while !self.waiting.is_empty() {
            let Ok(permit) = pool.handle_reserve() else { return };
            let Some((place, waker)) = self.waiting.pop_first() else { return };
            self.granted.insert(place, permit);
            wakers.push(waker);
        }
    }
}

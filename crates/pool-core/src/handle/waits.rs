//! What can be waited for: the end of a drain, and the first time all spares are there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::pool::Pool;
use crate::sync::lock;

use super::{Driver, PoolHandle};

/// Who waits.
#[derive(Default)]
pub(super) struct Waits {
    drained: Vec<Waker>,
    warmed: Vec<Waker>,
}

impl Waits {
    /// Ends what has been waited for long enough; the wakers are to be woken outside the lock.
    pub(super) fn end<T, H: Clone + Default>(
        &mut self,
        pool: &Pool<T, H>,
        wakers: &mut Vec<Waker>,
    ) {
        if pool.is_drained() {
            wakers.append(&mut self.drained);
        }
        if pool.is_warmed() {
            wakers.append(&mut self.warmed);
        }
    }
}

/// Wakers pile up only as often as the future is polled by another task, and go with the end.
fn keep(wakers: &mut Vec<Waker>, waker: Waker) -> Option<Waker> {
    if wakers.iter().any(|other| other.will_wake(&waker)) {
        return Some(waker);
    }
    wakers.push(waker);
    None
}

/// Ends when a drain has: no request and no instance is left. Made by [`PoolHandle::drain`].
#[must_use = "futures do nothing unless polled"]
pub struct Drained<D: Driver> {
    pool: PoolHandle<D>,
}

impl<D: Driver> Drained<D> {
    pub(super) fn new(pool: PoolHandle<D>) -> Self {
        Self { pool }
    }
}

impl<D: Driver> Future for Drained<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = lock(&self.pool.0.state);
        if state.pool.is_drained() {
            return Poll::Ready(());
        }
        let spare = keep(&mut state.waits.drained, waker);
        drop(state);
        drop(spare);
        Poll::Pending
    }
}

/// Ends when all spares have been there at once, or the pool drains. Made by
/// [`PoolHandle::warmed`].
#[must_use = "futures do nothing unless polled"]
pub struct Warmed<D: Driver> {
    pool: PoolHandle<D>,
}

impl<D: Driver> Warmed<D> {
    pub(super) fn new(pool: PoolHandle<D>) -> Self {
        Self { pool }
    }
}

impl<D: Driver> Future for Warmed<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = lock(&self.pool.0.state);
        if state.pool.is_warmed() {
            return Poll::Ready(());
        }
        let spare = keep(&mut state.waits.warmed, waker);
        drop(state);
        drop(spare);
        Poll::Pending
    }
}

impl<D: Driver> fmt::Debug for Drained<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drained")
    }
}

impl<D: Driver> fmt::Debug for Warmed<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warmed")
    }
}

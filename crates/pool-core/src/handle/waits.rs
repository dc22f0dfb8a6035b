//! What can be waited for: the end of a drain, and the making of the first spares.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::pool::Pool;
use crate::sync::lock;

use super::{Driver, PoolHandle};

/// Who waits, each under a key of its own.
#[derive(Default)]
pub(super) struct Waits {
    next: u64,
    drained: BTreeMap<u64, Waker>,
    warmed: BTreeMap<u64, Waker>,
}

impl Waits {
    /// Ends what has been waited for long enough; the wakers are to be woken outside the lock.
    #[inline]
    pub(super) fn end<T, H: Clone + Default>(
        &mut self,
        pool: &Pool<T, H>,
        wakers: &mut Vec<Waker>,
    ) {
        // In most cases no task waits.
        if !self.drained.is_empty() && pool.is_drained() {
            wakers.extend(std::mem::take(&mut self.drained).into_values());
        }
        if !self.warmed.is_empty() && pool.is_warmed() {
            wakers.extend(std::mem::take(&mut self.warmed).into_values());
        }
    }
}

macro_rules! wait {
    ($(#[$doc:meta])* $name:ident, $wakers:ident, $is_over:ident) => {
        $(#[$doc])*
        #[must_use = "futures do nothing unless polled"]
        pub struct $name<D: Driver> {
            pool: PoolHandle<D>,
            key: Option<u64>,
        }

        impl<D: Driver> $name<D> {
            pub(super) fn new(pool: PoolHandle<D>) -> Self {
                Self { pool, key: None }
            }
        }

        impl<D: Driver> Future for $name<D> {
            type Output = ();

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                // Cloned and dropped outside the lock: wakers are other people's code.
                let waker = cx.waker().clone();
                let (key, old) = {
                    let mut state = lock(&self.pool.0.state);
                    if state.pool.$is_over() {
                        return Poll::Ready(());
                    }
                    let waits = &mut state.waits;
                    let key = self.key.unwrap_or_else(|| {
                        waits.next += 1;
                        waits.next
                    });
                    (key, waits.$wakers.insert(key, waker))
                };
                drop(old);
                self.key = Some(key);
                Poll::Pending
            }
        }

        impl<D: Driver> Drop for $name<D> {
            fn drop(&mut self) {
                if let Some(key) = self.key {
                    let waker = lock(&self.pool.0.state).waits.$wakers.remove(&key);
                    drop(waker);
                }
            }
        }

        impl<D: Driver> fmt::Debug for $name<D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

wait! {
    /// Ends when a drain has: no request and no instance is left. Made by [`PoolHandle::drain`].
    Drained, drained, is_drained
}

wait! {
    /// Ends when as many instances have started as spares are to be kept, or the pool drains. Made by
    /// [`PoolHandle::warmed`].
    Warmed, warmed, is_warmed
}

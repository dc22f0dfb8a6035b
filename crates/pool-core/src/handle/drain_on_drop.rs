//! The end of a pool with its last user.

use std::ops::Deref;

use super::PoolHandle;
use super::driver::Driver;

/// A pool that drains when this is dropped.
///
/// Instances hold on to their pool by its [`PoolHandle`], so a backend gives its users this, in an [`Arc`](std::sync::Arc):
/// its end is theirs.
///
/// ```
/// use std::sync::Arc;
///
/// use millpond_pool_core::{DrainOnDrop, Driver, PoolHandle};
///
/// /// What the users of a backend have.
/// struct MyPool<D: Driver>(Arc<DrainOnDrop<D>>);
///
/// fn my_pool<D: Driver>(pool: PoolHandle<D>) -> MyPool<D> {
///     MyPool(Arc::new(pool.into()))
/// }
/// ```
pub struct DrainOnDrop<D: Driver>(PoolHandle<D>);

impl<D: Driver> From<PoolHandle<D>> for DrainOnDrop<D> {
    fn from(pool: PoolHandle<D>) -> Self {
        Self(pool)
    }
}

impl<D: Driver> Deref for DrainOnDrop<D> {
    type Target = PoolHandle<D>;

    fn deref(&self) -> &PoolHandle<D> {
        &self.0
    }
}

impl<D: Driver> Drop for DrainOnDrop<D> {
    fn drop(&mut self) {
        // It goes on by itself.
        drop(self.0.drain());
    }
}

impl<D: Driver> std::fmt::Debug for DrainOnDrop<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DrainOnDrop").field(&self.0).finish()
    }
}

//! pool-core's runtime, on tokio.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use millpond_pool_core::Runtime;
use tokio::runtime::Handle;

/// The tokio runtime in which the pool was made.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// The runtime of the calling task.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl Runtime for Tokio {
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        // The clock by which it sleeps, where tests and fuzzers pause it.
        tokio::time::Instant::now().into()
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let _inside = self.0.enter();
        tokio::time::sleep_until(at.into())
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task);
    }
}

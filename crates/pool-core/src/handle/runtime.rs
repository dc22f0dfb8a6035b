//! What the async layer needs of a runtime.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

/// Time and tasks. For tokio, see `millpond-wasmtime-backend`.
pub trait Runtime: Send + Sync + 'static {
    /// Ends at a time.
    type Sleep: Future<Output = ()> + Send + 'static;

    /// The time.
    fn now(&self) -> Instant;

    /// A future that ends at `at`, or soon after.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Runs a task to its end.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

//! Starts that came to nothing, and what their requests are told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond_pool_core::{Error, ErrorKind, Refusal};

use crate::failure::{InstantiationError, is_exhaustion, log_text};
use crate::log_rate::{LogRate, unlogged};
use crate::sync::lock;

/// The newest errors of a pool's failed starts, for the requests that it refuses because of them.
///
/// ```
/// use std::error::Error;
///
/// use millpond_engine::FailedStarts;
/// use millpond_pool_core::Refusal;
///
/// let failed = FailedStarts::default();
/// let told = failed.note(wasmtime::Error::msg("no such import")).expect("it is no lack of room");
/// assert_eq!(told.source().unwrap().to_string(), "no such import");
/// // So is each request that the pool refuses because of it.
/// let refused = failed.refusal(Refusal::StartFailed);
/// assert_eq!(refused.source().unwrap().to_string(), "no such import");
/// ```
#[derive(Debug)]
pub struct FailedStarts {
    /// Starts that fail are logged so often.
    logged: LogRate,
    failed: Mutex<Option<InstantiationError>>,
    exhausted: Mutex<Option<InstantiationError>>,
    was_exhausted: AtomicBool,
}

impl Default for FailedStarts {
    fn default() -> Self {
        let (failed, exhausted, was_exhausted) = Default::default();
        let logged = LogRate::new(20, Duration::from_secs(1));
        Self { logged, failed, exhausted, was_exhausted }
    }
}

impl FailedStarts {
    /// Keeps and logs why a start failed, and returns that for the request that it was for. `None`: there was no room for
    /// the instance, so its request waits until there is.
    pub fn note(&self, error: wasmtime::Error) -> Option<Error> {
        let exhausted = is_exhaustion(&error);
        let error = InstantiationError::new(error);
        if exhausted {
            if self.was_exhausted.swap(true, Ordering::Relaxed) {
                tracing::debug!(%error, "no room for another instance");
            } else {
                tracing::warn!(%error, "no room for another instance, logged once: requests wait for it");
            }
            *lock(&self.exhausted) = Some(error);
            return None;
        }
        if let Some(more) = self.logged.allow() {
            let cause = error.cause().map(log_text).map(tracing::field::display);
            tracing::error!(
                error = cause,
                unlogged = unlogged(more),
                "an instance failed to start"
            );
        }
        *lock(&self.failed) = Some(error.clone());
        Some(Error::new(ErrorKind::Instantiation).with_source(error))
    }

    /// Returns what a refused request is told, with the start that failed as its source where one is to blame.
    pub fn refusal(&self, refusal: Refusal) -> Error {
        let cause = match refusal {
            Refusal::StartFailed => lock(&self.failed).clone(),
            Refusal::Exhausted => lock(&self.exhausted).clone(),
            Refusal::BudgetExhausted => Some(InstantiationError::budget()),
            _ => None,
        };
        let error = Error::from(refusal);
        match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

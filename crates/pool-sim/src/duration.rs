//! Durations of limits, on the scale of virtual time.

use std::time::Duration;

use crate::agenda::Time;

/// `None`: never.
pub(crate) fn after(at: Time, wait: Duration) -> Option<Time> {
    let nanos = u64::try_from(wait.as_nanos()).ok()?;
    at.checked_add(nanos)
}

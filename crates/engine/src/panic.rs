//! Panics of host code, on a guest's behalf.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Host code panicked, with this message.
#[derive(Debug)]
pub struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host code panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

/// Runs code that a panic must not take others along with. What it panicked over is not to be used
/// again.
///
/// # Errors
///
/// If it panics.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Panicked(text.unwrap_or_else(|| "a panic without a message".to_owned()))
    })
}

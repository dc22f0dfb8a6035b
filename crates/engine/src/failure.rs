//! Errors of wasmtime, as callers get them.

use std::fmt;
use std::sync::Arc;

use wasmtime::{PoolConcurrencyLimitError, WasmCoreDump};

use crate::limits::MemoryExhausted;
use crate::output::printable;

/// A text on one line, as people want their errors.
pub fn one_line(text: impl fmt::Display) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error with all that led to it, on one line.
pub fn chain(error: &wasmtime::Error) -> String {
    one_line(format_args!("{error:#}"))
}

/// An error for the log, on one line: without the inventory of the store that a core dump says it is made of.
pub fn log_text(error: &wasmtime::Error) -> String {
    if !error.is::<WasmCoreDump>() {
        return printable(format_args!("{error:?}"));
    }
    printable(fmt::from_fn(|f| {
        let causes = error.chain().map(printable);
        let causes = causes.filter(|cause| !cause.starts_with("wasm coredump "));
        for (nth, cause) in causes.enumerate() {
            let between = if nth > 0 { "\nCaused by: " } else { "" };
            write!(f, "{between}{cause}")?;
        }
        Ok(())
    }))
}

/// Whether an instance did not start for want of room, which there may be later: in the allocator, or in the
/// memory that all instances share.
pub fn is_exhaustion(error: &wasmtime::Error) -> bool {
    match error.downcast_ref::<PoolConcurrencyLimitError>() {
        // An allocator that holds none of these never will. wasmtime says so in words only.
        Some(full) => !full.to_string().contains("limit of 0 "),
        None => error.is::<MemoryExhausted>(),
    }
}

/// Why an instance did not start. The source of an [`Error`](millpond_pool_core::Error) of the kinds
/// [`Instantiation`](millpond_pool_core::ErrorKind::Instantiation) and
/// [`ResourcesExhausted`](millpond_pool_core::ErrorKind::ResourcesExhausted).
///
/// Where the allocator was full, its own source is wasmtime's
/// [`PoolConcurrencyLimitError`](wasmtime::PoolConcurrencyLimitError), which says of what it holds no
/// more.
///
/// ```
/// use millpond_engine::InstantiationError;
/// use std::error::Error;
/// use wasmtime::PoolConcurrencyLimitError;
///
/// /// Whether a larger allocator would have helped.
/// fn allocator_was_full(error: &millpond_pool_core::Error) -> bool {
///     let cause = error.source().and_then(|cause| cause.downcast_ref::<InstantiationError>());
///     cause.and_then(|cause| cause.source()).is_some_and(|source| source.is::<PoolConcurrencyLimitError>())
/// }
/// ```
#[derive(Clone)]
pub struct InstantiationError {
    /// `None`: the budget had no room.
    cause: Option<Arc<wasmtime::Error>>,
}

impl InstantiationError {
    /// Of a start that failed with this error.
    pub fn new(cause: wasmtime::Error) -> Self {
        Self { cause: Some(Arc::new(cause)) }
    }

    /// Of a start for which the budget had no room.
    pub fn budget() -> Self {
        Self { cause: None }
    }

    /// What wasmtime said, with its backtrace: for the log.
    pub fn cause(&self) -> Option<&wasmtime::Error> {
        self.cause.as_deref()
    }
}

impl fmt::Display for InstantiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{}", cause.root_cause()),
            None => f.write_str("the budget that the pool shares with others is used up"),
        }
    }
}

impl fmt::Debug for InstantiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstantiationError({self})")
    }
}

impl std::error::Error for InstantiationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause = self.cause.as_deref()?;
        if let Some(full) = cause.downcast_ref::<PoolConcurrencyLimitError>() {
            return Some(full);
        }
        let cause: &(dyn std::error::Error + Send + Sync + 'static) = cause.as_ref();
        Some(cause)
    }
}

/// A wasmtime error that several share.
#[derive(Debug, Clone)]
pub struct SharedError(pub Arc<wasmtime::Error>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its root, on one line; the chain and the backtrace are for the log.
        write!(f, "{}", self.0.root_cause())
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let error: &(dyn std::error::Error + Send + Sync + 'static) = self.0.as_ref().as_ref();
        Some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::log_text;

    #[test]
    fn the_error_of_a_trap_is_one_line_and_cut() {
        let error = wasmtime::format_err!("wasm trap").context("at\n0: forged\u{1b}[2J");
        let line = log_text(&error);
        assert!(line.contains(r"at\n0: forged\u{1b}[2J"), "{line}");
        assert!(!line.contains('\n'), "{line}");
        let error = wasmtime::format_err!("wasm trap").context("x".repeat(100_000));
        assert!(log_text(&error).len() < 9000);
    }
}

//! What can go wrong in a run, and what it means for the instance and its callers.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use millpond_pool_core::{Error, ErrorKind, Reason};
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::Error as Code;

use crate::host::Host;
use crate::record;
use crate::slot::Slot;

/// Why a run stopped.
pub(crate) enum Fault {
    /// The pool ends the instance.
    Doomed,
    /// A trap, an exit, or a host function's error.
    Error(wasmtime::Error),
    /// Host code panicked.
    Panic(String),
}

/// Polls a future until it ends, panics, or the instance is doomed.
pub(crate) async fn until_doomed<H: Host, T>(
    slot: &Slot<H>,
    future: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Fault> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if slot.doomed().is_some() {
            return Poll::Ready(Err(Fault::Doomed));
        }
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(|result| result.map_err(Fault::Error)),
            Err(panic) => Poll::Ready(Err(Fault::Panic(panic_message(&*panic)))),
        }
    })
    .await
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

impl Fault {
    /// Whether the allocator had no room.
    pub(crate) fn is_exhaustion(&self) -> bool {
        matches!(self, Self::Error(error) if error.is::<PoolConcurrencyLimitError>())
    }

    /// What it means for a running instance, and for a caller who waits for it.
    pub(crate) fn broken<H: Host>(self, slot: &Slot<H>) -> (Reason, Error) {
        let (reason, kind, error) = match self {
            Self::Doomed => {
                let reason = slot.doomed().unwrap_or(Reason::Host);
                return (reason, Error::from(millpond_pool_core::Failure::Retired(reason)));
            }
            Self::Panic(message) => {
                let error = wasmtime::format_err!("host code panicked: {message}");
                (Reason::Host, ErrorKind::HostPanic, error)
            }
            Self::Error(error) if error.is::<wasmtime_wasi::I32Exit>() => {
                (Reason::Exit, ErrorKind::Exit, error)
            }
            Self::Error(error) => (Reason::Trap, ErrorKind::Trap, error),
        };
        match kind {
            ErrorKind::Exit => {
                let error = error.root_cause();
                tracing::info!(retire.reason = %reason, %error, "a guest exited");
            }
            _ => {
                let error = record::without_dump(&error);
                tracing::error!(retire.reason = %reason, %error, "an instance broke");
            }
        }
        let error = Arc::new(error);
        slot.set_error(Arc::clone(&error));
        (reason, Error::new(kind).with_reason(reason).with_source(Cause(error)))
    }
}

/// Why an instance did not start. The source of an [`Error`] of the kinds
/// [`Instantiation`](ErrorKind::Instantiation) and [`ResourcesExhausted`](ErrorKind::ResourcesExhausted).
///
/// Where the allocator was full, its own source is wasmtime's
/// [`PoolConcurrencyLimitError`](wasmtime::PoolConcurrencyLimitError), which says of what it holds no
/// more.
///
/// ```
/// use millpond_wasmtime_backend::{InstantiationError, wasmtime::PoolConcurrencyLimitError};
/// use std::error::Error;
///
/// /// Whether a larger allocator would have helped.
/// fn allocator_was_full(error: &millpond_wasmtime_backend::Error) -> bool {
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
    pub(crate) fn new(fault: Fault) -> Self {
        let cause = match fault {
            Fault::Doomed => wasmtime::format_err!("the start was given up"),
            Fault::Panic(message) => wasmtime::format_err!("host code panicked: {message}"),
            Fault::Error(error) => error,
        };
        Self { cause: Some(Arc::new(cause)) }
    }

    pub(crate) fn budget() -> Self {
        Self { cause: None }
    }

    pub(crate) fn cause(&self) -> Option<&wasmtime::Error> {
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
pub(crate) struct Cause(pub(crate) Arc<wasmtime::Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain, on one line; the backtrace is for the log.
        write!(f, "{}", self.0.root_cause())
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let error: &(dyn std::error::Error + Send + Sync + 'static) = self.0.as_ref().as_ref();
        Some(error)
    }
}

/// A guest's `error-code` as an error with its status. The table is in `docs/GUIDE.md`.
pub(crate) fn guest_error(code: Code) -> Error {
    let status = code_status(&code);
    Error::new(ErrorKind::GuestError).with_status(status).with_source(code)
}

fn code_status(code: &Code) -> u16 {
    match code {
        Code::HttpRequestDenied => 403,
        Code::HttpRequestMethodInvalid => 405,
        Code::HttpRequestLengthRequired => 411,
        Code::HttpRequestBodySize(_) => 413,
        Code::HttpRequestUriTooLong => 414,
        Code::HttpRequestUriInvalid => 400,
        Code::HttpRequestHeaderSectionSize(_)
        | Code::HttpRequestHeaderSize { .. }
        | Code::HttpRequestTrailerSectionSize(_)
        | Code::HttpRequestTrailerSize { .. } => 431,
        Code::DnsTimeout
        | Code::ConnectionTimeout
        | Code::ConnectionReadTimeout
        | Code::ConnectionWriteTimeout
        | Code::HttpResponseTimeout => 504,
        Code::ConnectionLimitReached | Code::DestinationUnavailable => 503,
        Code::LoopDetected => 508,
        Code::ConfigurationError | Code::InternalError(_) => 500,
        // The rest is about a server behind the guest, or the way to it.
        _ => 502,
    }
}

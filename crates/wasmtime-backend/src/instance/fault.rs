//! What can go wrong in a run, and what it means for the instance and its callers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use millpond_engine::{LogRate, Panicked, SharedError, catch_panic, log_text, printable, unlogged};
use millpond_pool_core::{Error, ErrorKind, Reason};
use wasmtime_wasi_http::Error as Code;

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::slot::Slot;

/// Why a run stopped.
pub(crate) enum Fault {
    /// The pool ends the instance.
    ShutDown,
    /// A trap, an exit, or a host function's error.
    Error(wasmtime::Error),
    Panic(Panicked),
}

/// What guests bring about by breaking or exiting is logged so often.
static BROKE: LogRate = LogRate::new(20, Duration::from_secs(1));
static EXITED: LogRate = LogRate::new(20, Duration::from_secs(1));

/// Polls a guest's future until it ends, panics, or the instance shuts down.
pub(crate) async fn until_shutdown<H: Host, T>(
    driver: &WasmDriver<H>,
    slot: &Slot<H>,
    future: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Fault> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if slot.shutdown_reason().is_some() {
            return Poll::Ready(Err(Fault::ShutDown));
        }
        let _driven = driver.ticks().drive();
        match catch_panic(|| future.as_mut().poll(cx)) {
            Ok(polled) => polled.map(|result| result.map_err(Fault::Error)),
            Err(panicked) => Poll::Ready(Err(Fault::Panic(panicked))),
        }
    })
    .await
}

impl Fault {
    /// As what a start failed with.
    pub(crate) fn into_error(self) -> wasmtime::Error {
        match self {
            Self::ShutDown => wasmtime::format_err!("the start was given up"),
            Self::Panic(panicked) => panicked.into(),
            Self::Error(error) => error,
        }
    }

    /// What it means for a running instance, and for a caller who waits for it.
    pub(crate) fn broken<H: Host>(self, slot: &Slot<H>) -> (Reason, Error) {
        let (reason, kind, error) = match self {
            Self::ShutDown => {
                let reason = slot.shutdown_reason().unwrap_or(Reason::Host);
                return (reason, Error::from(millpond_pool_core::Failure::Retired(reason)));
            }
            Self::Panic(panicked) => (Reason::Host, ErrorKind::HostPanic, panicked.into()),
            Self::Error(error) if error.is::<wasmtime_wasi::I32Exit>() => {
                (Reason::Exit, ErrorKind::Exit, error)
            }
            Self::Error(error) => (Reason::Trap, ErrorKind::Trap, error),
        };
        match kind {
            ErrorKind::Exit => {
                if let Some(more) = EXITED.allow() {
                    let (error, unlogged) = (printable(error.root_cause()), unlogged(more));
                    tracing::info!(retire.reason = %reason, %error, unlogged, "a guest exited");
                }
            }
            _ => {
                if let Some(more) = BROKE.allow() {
                    let (error, unlogged) = (log_text(&error), unlogged(more));
                    tracing::error!(retire.reason = %reason, %error, unlogged, "an instance broke");
                }
            }
        }
        let error = Arc::new(error);
        slot.set_error(Arc::clone(&error));
        (reason, Error::new(kind).with_reason(reason).with_source(SharedError(error)))
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

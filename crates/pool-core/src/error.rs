//! Why a request got no response from its guest.

use std::fmt;

use crate::effect::Failure;
use crate::reason::{Reason, Refusal};

/// Why a request got no response from its guest.
///
/// ```
/// use millpond_pool_core::{Error, ErrorKind, Refusal};
///
/// let error = Error::from(Refusal::Overloaded);
/// assert_eq!(error.kind(), ErrorKind::Overloaded);
/// assert_eq!(error.status(), 503);
/// assert!(!error.request_started(), "no guest saw it: it may be sent elsewhere");
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    status: u16,
    reason: Option<Reason>,
    started: bool,
    source: Option<Source>,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// All seats and queue places are taken. 503
    Overloaded,
    /// The request waited for longer than `queue_timeout`. 503
    QueueTimeout,
    /// An instance took longer than `start_timeout` to start. 503
    StartTimeout,
    /// The allocator, or a budget shared with other pools, had no room for an instance. 503
    ResourcesExhausted,
    /// The pool is draining. 503
    Draining,
    /// No response head within `request_timeout`. 504
    RequestTimeout,
    /// The guest trapped. 500
    Trap,
    /// The guest called `wasi:cli/exit` before it answered. 500
    Exit,
    /// Host code panicked on the guest's behalf. 500
    HostPanic,
    /// The guest returned without setting a response. 500
    NoResponse,
    /// An instance failed to start. 500
    Instantiation,
    /// The guest answered with an error code; the status depends on the code.
    GuestError,
    /// The service behind a guest, or behind the server, gave no response or broke it off. 502
    Upstream,
    /// The instance ended for a reason that had nothing to do with the request. 503
    Retired,
    /// The request is malformed. 400
    BadRequest,
    /// The request's body is too large. 413
    BodyTooLarge,
    /// The request's head is too large. 431
    HeadTooLarge,
}

impl ErrorKind {
    /// The status that goes with it, unless the error says otherwise.
    pub const fn status(self) -> u16 {
        match self {
            Self::Overloaded
            | Self::QueueTimeout
            | Self::StartTimeout
            | Self::ResourcesExhausted
            | Self::Draining
            | Self::Retired => 503,
            Self::RequestTimeout => 504,
            Self::Trap
            | Self::Exit
            | Self::HostPanic
            | Self::NoResponse
            | Self::Instantiation
            | Self::GuestError => 500,
            Self::Upstream => 502,
            Self::BadRequest => 400,
            Self::BodyTooLarge => 413,
            Self::HeadTooLarge => 431,
        }
    }

    /// What happened, in a few words that are fit for a client.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::QueueTimeout => "queue timeout",
            Self::StartTimeout => "start timeout",
            Self::ResourcesExhausted => "resources exhausted",
            Self::Draining => "draining",
            Self::RequestTimeout => "request timeout",
            Self::Trap => "guest trapped",
            Self::Exit => "guest exited",
            Self::HostPanic => "host panic",
            Self::NoResponse => "guest set no response",
            Self::Instantiation => "instantiation failed",
            Self::GuestError => "guest answered with an error",
            Self::Upstream => "upstream failed",
            Self::Retired => "instance ended",
            Self::BadRequest => "bad request",
            Self::BodyTooLarge => "request body too large",
            Self::HeadTooLarge => "request head too large",
        }
    }

    /// Whether a guest may have seen the request.
    const fn started(self) -> bool {
        matches!(
            self,
            Self::RequestTimeout
                | Self::Trap
                | Self::Exit
                | Self::HostPanic
                | Self::NoResponse
                | Self::GuestError
                | Self::Upstream
                | Self::Retired
        )
    }
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind) -> Self {
        let (status, started) = (kind.status(), kind.started());
        Self { kind, status, reason: None, started, source: None }
    }

    /// With its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With another status than the kind's own.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With the reason for which the request's instance ended.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Of a request that no guest has seen, though the kind would allow for it.
    #[must_use]
    pub fn not_started(mut self) -> Self {
        self.started = false;
        self
    }

    /// What kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The HTTP status that tells a client.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Why the request's instance ended, if it did.
    pub fn retire_reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Whether a guest may have seen the request. If not, it is safe to send it elsewhere.
    pub fn request_started(&self) -> bool {
        self.started
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        match self.reason {
            Some(reason) => write!(f, " (instance ended: {reason})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(match refusal {
            Refusal::Overloaded => ErrorKind::Overloaded,
            Refusal::QueueTimeout => ErrorKind::QueueTimeout,
            Refusal::StartTimeout => ErrorKind::StartTimeout,
            Refusal::Exhausted | Refusal::BudgetExhausted => ErrorKind::ResourcesExhausted,
            Refusal::StartFailed => ErrorKind::Instantiation,
            Refusal::Draining => ErrorKind::Draining,
        })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::RequestTimeout => Self::new(ErrorKind::RequestTimeout),
            Failure::StartTimeout => Self::new(ErrorKind::StartTimeout),
            Failure::Retired(reason) => {
                let kind = match reason {
                    Reason::Trap => ErrorKind::Trap,
                    Reason::Exit => ErrorKind::Exit,
                    Reason::Timeout => ErrorKind::RequestTimeout,
                    Reason::Drain => ErrorKind::Draining,
                    _ => ErrorKind::Retired,
                };
                let mut error = Self::new(kind).with_reason(reason);
                error.started = true;
                error
            }
        }
    }
}

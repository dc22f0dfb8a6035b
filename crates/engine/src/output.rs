//! What the host writes, for itself and for its guests.
//!
//! All of it goes through two [`HostStream`]s, so that a blocked, closed or full stdout or stderr
//! blocks no request and ends nothing. What guests print is escaped, line by line, and each of them
//! may print only so much. Lines carry the number of their instance and, when it serves one request
//! at a time, of the request.

mod allowance;
pub mod escape;
mod guest;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_pool_core::{InstanceId, RequestId};

pub use allowance::{DEFAULT_MAX_OUTPUT, cut_output};
pub use escape::printable;
pub use guest::GuestOutput;
pub use stream::{HostStream, Lost};

use allowance::{Allowance, PoolAllowance};

/// What becomes of what guests print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// It is lost.
    None,
    /// It goes to the host's stdout and stderr as it is.
    Plain,
    /// It goes to the host's stdout and stderr line by line: `stdout [3/17] :: text` is from
    /// instance 3 in request 17, `stdout [3] :: text` from instance 3, which has served several
    /// requests at a time. What is no character of a line is escaped.
    #[default]
    Prefixed,
}

/// Who prints: the instance and, while it is known, the request.
#[derive(Debug)]
pub struct Tag {
    id: Option<InstanceId>,
    /// 0: not known.
    request: AtomicU64,
    allowance: Allowance,
}

impl Tag {
    /// What it prints from here on is for this request.
    pub fn set_request(&self, request: Option<RequestId>) {
        self.request.store(request.map_or(0, RequestId::number), Ordering::Relaxed);
    }

    /// Whether the instance may have this printed. If not, it is counted as cut.
    pub fn may_print(&self, bytes: &[u8]) -> bool {
        self.allowance.take(bytes)
    }

    fn prefix(&self, stream: &str) -> String {
        let id = self.id.map_or(0, InstanceId::number);
        match self.request.load(Ordering::Relaxed) {
            0 => format!("{stream} [{id}] :: "),
            request => format!("{stream} [{id}/{request}] :: "),
        }
    }
}

/// The host's stdout and stderr, for the guests of a pool.
#[derive(Debug)]
pub struct Console {
    output: Output,
    allowance: PoolAllowance,
}

impl Console {
    /// Each instance may print `max_output` bytes in a second, several seconds' worth at once; 0: as
    /// much as it likes.
    pub fn new(output: Output, max_output: u64) -> Self {
        Self { output, allowance: PoolAllowance::new(max_output) }
    }

    /// An instance that prints; no request is known. `None`: one that is only tried.
    pub fn tag(&self, id: Option<InstanceId>) -> Arc<Tag> {
        Arc::new(Tag { id, request: AtomicU64::new(0), allowance: self.allowance.instance() })
    }

    /// The stdout and the stderr of an instance; `None`: what it prints is lost.
    pub fn streams(&self, tag: &Arc<Tag>) -> Option<[GuestOutput; 2]> {
        let prefixed = match self.output {
            Output::None => return None,
            Output::Plain => false,
            Output::Prefixed => true,
        };
        let stream =
            |stream, name| GuestOutput::new(stream, Arc::clone(tag), prefixed.then_some(name));
        Some([stream(HostStream::stdout(), "stdout"), stream(HostStream::stderr(), "stderr")])
    }
}

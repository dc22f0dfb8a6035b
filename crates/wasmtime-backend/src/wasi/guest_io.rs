//! What guests hold of the host's descriptors.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::files::OpenFiles;

/// Outbound connections at once, and open files, in sum; and of one instance.
const MAX_CONNECTIONS: usize = 1000;
const MAX_FILES: usize = 1000;
pub(super) const FILES_OF_INSTANCE: usize = 100;

/// Bounds and counts the connections and files of guests, in sum over all hosts that share it. Clones are the same.
///
/// ```
/// use millpond_wasmtime_backend::{GuestIo, WasiHost};
///
/// let io = GuestIo::new(200, 100);
/// let host = WasiHost::new().guest_io(io.clone());
/// assert_eq!(io.usage().connections, 0);
/// ```
#[derive(Clone)]
pub struct GuestIo(Arc<Shared>);

struct Shared {
    connections: Arc<Semaphore>,
    max_connections: usize,
    files: OpenFiles,
    denied: AtomicU64,
    refused: AtomicU64,
}

/// How much of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestIoUsage {
    /// Requests that guests have sent and whose connections are open.
    pub connections: usize,
    /// As many there may be.
    pub max_connections: usize,
    /// Files and directories that guests have open.
    pub files: usize,
    /// As many there may be.
    pub max_files: usize,
    /// Requests of guests that went nowhere, as their destination is not allowed.
    pub denied: u64,
    /// Requests of guests that went nowhere, as too many were under way.
    pub refused: u64,
}

impl Default for GuestIo {
    /// 1000 of each.
    fn default() -> Self {
        Self::new(MAX_CONNECTIONS, MAX_FILES)
    }
}

impl GuestIo {
    /// So many outbound connections at a time, and so many open files.
    pub fn new(connections: usize, files: usize) -> Self {
        let max_connections = connections.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            connections: Arc::new(Semaphore::new(max_connections)),
            max_connections,
            files: OpenFiles::new(files),
            denied: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Returns how much of it is in use. Not all of one moment.
    pub fn usage(&self) -> GuestIoUsage {
        let shared = &self.0;
        GuestIoUsage {
            connections: shared.max_connections - shared.connections.available_permits(),
            max_connections: shared.max_connections,
            files: shared.files.count(),
            max_files: shared.files.max(),
            denied: shared.denied.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
        }
    }

    pub(super) fn files(&self) -> &OpenFiles {
        &self.0.files
    }

    /// Takes a permit for a connection, of this instance's and of all. `None`: there is none left.
    pub(super) fn connect(&self, of_instance: &Arc<Semaphore>) -> Option<ConnectionPermit> {
        let take = || -> Result<_, TryAcquireError> {
            let of_instance = Arc::clone(of_instance).try_acquire_owned()?;
            let of_all = Arc::clone(&self.0.connections).try_acquire_owned()?;
            Ok(ConnectionPermit { _of_instance: of_instance, _of_all: of_all })
        };
        let permit = take().ok();
        if permit.is_none() {
            self.refused();
        }
        permit
    }

    pub(super) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn denied(&self) {
        self.0.denied.fetch_add(1, Ordering::Relaxed);
    }
}

/// The right to have a connection, held by the connection.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _of_instance: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl fmt::Debug for GuestIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}

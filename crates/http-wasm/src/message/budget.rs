//! What bodies that are held may have of the host's memory, all of them together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// Bytes of all bodies that may be held for guests at a time, unless told otherwise: 256 MiB.
pub const DEFAULT_MAX_BUFFER: usize = 256 << 20;

/// One limit on the bytes of bodies that are held for guests, for all pools that share it. Clones are the same.
///
/// A body counts while it is held: for a guest that reads or writes it, and after that until it has been sent on. What
/// passes unread does not.
///
/// ```
/// use millpond_http_wasm::{BufferBudget, HttpWasmPool};
///
/// let buffers = BufferBudget::new(64 << 20);
/// let outer = HttpWasmPool::builder().buffer_budget(buffers.clone());
/// let inner = HttpWasmPool::builder().buffer_budget(buffers.clone());
/// assert_eq!((buffers.used(), buffers.limit()), (0, 64 << 20));
/// # drop((outer, inner));
/// ```
#[derive(Clone)]
pub struct BufferBudget(Arc<Shared>);

struct Shared {
    limit: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

impl BufferBudget {
    /// Makes one of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let (used, refused) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { limit: bytes, used, refused }))
    }

    /// Returns how many bytes may be held.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Returns how many are.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Returns how often there was no room for a piece of a body, which ended its request.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// Takes so many bytes, if they are there.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge, Full> {
        let Shared { limit, used, refused } = &*self.0;
        let more = |used: usize| used.checked_add(bytes).filter(|used| used <= limit);
        match used.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(Charge { budget: self.clone(), bytes }),
            Err(_) => {
                refused.fetch_add(1, Relaxed);
                Err(Full)
            }
        }
    }
}

impl Default for BufferBudget {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BUFFER)
    }
}

impl fmt::Debug for BufferBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferBudget")
            .field("used", &self.used())
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}

/// There is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Bytes that were taken, and are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: BufferBudget,
    bytes: usize,
}

impl Charge {
    /// Makes it a part of what it is for.
    pub(crate) fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Relaxed);
    }
}

struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BufferBudget, Full};

    #[test]
    fn bytes_are_taken_and_given_back() {
        let budget = BufferBudget::new(10);
        let six = budget.charge(6).unwrap();
        assert_eq!(budget.charge(5).unwrap_err(), Full);
        assert_eq!(budget.charge(usize::MAX).unwrap_err(), Full);
        assert_eq!((budget.used(), budget.refused()), (6, 2));
        let bytes = six.attach(Bytes::from_static(b"abcdef"));
        let slice = bytes.slice(2..3);
        drop(bytes);
        assert_eq!(budget.used(), 6, "as long as a part of it is held");
        drop(slice);
        assert_eq!(budget.used(), 0);
        assert!(budget.charge(10).is_ok());
    }
}

//! The account that all guests of a process share.
//!
//! A limit for each instance says nothing of a thousand of them. So what instances hold is charged to an
//! account as well, and given back when their stores are dropped: growth beyond its limit is refused, and a
//! start beyond it waits for room, as one does for which the allocator is full.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The bytes that guests hold together, and how many they may. Clones are the same account.
///
/// ```
/// use millpond_engine::MemoryAccount;
///
/// let account = MemoryAccount::new(1 << 30);
/// assert_eq!((account.used(), account.limit(), account.refused()), (0, 1 << 30, 0));
/// ```
#[derive(Clone)]
pub struct MemoryAccount(Arc<Account>);

struct Account {
    limit: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

impl MemoryAccount {
    /// Makes an account with this limit, in bytes.
    pub fn new(limit: usize) -> Self {
        let (used, refused) = Default::default();
        Self(Arc::new(Account { limit, used, refused }))
    }

    /// Returns how many bytes guests may hold together.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Returns how many bytes they hold.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Returns how often something was refused because of the limit.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: usize) -> bool {
        let charged = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.0.limit)
        });
        charged.is_ok()
    }

    fn refund(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for MemoryAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, limit) = (self.used(), self.limit());
        f.debug_struct("MemoryAccount").field("used", &used).field("limit", &limit).finish()
    }
}

/// What one guest has charged to an account, if there is one. Refunded when dropped.
#[derive(Debug, Default)]
pub struct Charge {
    account: Option<MemoryAccount>,
    bytes: usize,
}

impl Charge {
    /// Charges nothing yet, to this account.
    pub fn new(account: Option<MemoryAccount>) -> Self {
        Self { account, bytes: 0 }
    }

    /// Returns whether there is an account.
    pub fn has_account(&self) -> bool {
        self.account.is_some()
    }

    /// Makes the charge this large. Returns false, and changes nothing, if there is no room for that.
    #[must_use]
    pub fn set(&mut self, bytes: usize) -> bool {
        if let Some(account) = &self.account {
            if bytes > self.bytes {
                if !account.charge(bytes - self.bytes) {
                    return false;
                }
            } else {
                account.refund(self.bytes - bytes);
            }
        }
        self.bytes = bytes;
        true
    }

    /// Counts that something is refused for want of room, and returns why: an instance fails to start with it.
    pub fn refuse(&self) -> MemoryExhausted {
        let Some(account) = &self.account else { return MemoryExhausted { used: 0, limit: 0 } };
        account.0.refused.fetch_add(1, Ordering::Relaxed);
        MemoryExhausted { used: account.used(), limit: account.limit() }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let _ = self.set(0);
    }
}

/// There is no room for another instance in the memory that all of them share. Its request waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryExhausted {
    used: usize,
    limit: usize,
}

impl fmt::Display for MemoryExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, limit } = self;
        write!(f, "instances hold {used} bytes of the {limit} that they may hold together")
    }
}

impl std::error::Error for MemoryExhausted {}

#[cfg(test)]
mod tests {
    use super::{Charge, MemoryAccount, MemoryExhausted};

    #[test]
    fn a_charge_is_refunded_when_dropped() {
        let account = MemoryAccount::new(100);
        let mut one = Charge::new(Some(account.clone()));
        let mut other = Charge::new(Some(account.clone()));
        assert!(one.set(60) && !other.set(50) && other.set(40));
        assert_eq!(account.used(), 100);
        assert!(one.set(10) && other.set(90) && !other.set(91));
        drop(one);
        assert_eq!((account.used(), account.refused()), (90, 0));
        assert_eq!(other.refuse(), MemoryExhausted { used: 90, limit: 100 });
        assert_eq!(account.refused(), 1);
        drop(other);
        assert_eq!(account.used(), 0);
        assert!(Charge::default().set(usize::MAX), "without an account there is no limit");
    }
}

//! The synchronisation primitives of the async layer, so that the same code runs under the
//! standard library, under loom and under shuttle.

pub(crate) use std::sync::TryLockError;

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

/// Thread-locals that begin with a constant: std has no need to look whether they have begun.
#[cfg(not(any(loom, shuttle)))]
macro_rules! local {
    ($($(#[$doc:meta])* static $name:ident: $type:ty = $value:expr;)+) => {
        std::thread_local! { $($(#[$doc])* static $name: $type = const { $value };)+ }
    };
}
#[cfg(loom)]
macro_rules! local {
    ($($locals:tt)+) => { loom::thread_local! { $($locals)+ } };
}
#[cfg(shuttle)]
macro_rules! local {
    ($($locals:tt)+) => { shuttle::thread_local! { $($locals)+ } };
}
pub(crate) use local;

/// Locks, also after a panic elsewhere: what the locks here protect is whole between any two
/// statements that can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

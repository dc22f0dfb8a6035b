//! Why an instance ended, and why a request got no answer from a guest.

use std::fmt;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word used in logs, metrics and documents.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why an instance ended: exactly one each.
    ///
    /// ```
    /// assert_eq!(millpond_pool_core::Reason::Idle.as_str(), "idle");
    /// ```
    Reason {
        /// Nothing to do for longer than the idle timeout.
        Idle = "idle",
        /// Older than its maximum age.
        Age = "age",
        /// It served as many requests as it may.
        Requests = "requests",
        /// It held more memory than it may keep.
        Memory = "memory",
        /// A request, a body, a start or post-return work took too long.
        Timeout = "timeout",
        /// The guest trapped.
        Trap = "trap",
        /// The guest called `wasi:cli/exit`.
        Exit = "exit",
        /// The caller of its only request went away.
        Cancelled = "cancelled",
        /// It was idle while something else needed its place, or beyond a limit that was lowered.
        Pressure = "pressure",
        /// A newer version of the guest took over.
        Swap = "swap",
        /// The pool is draining.
        Drain = "drain",
        /// The host: a failed start, a panic in host code, a policy that said so, or a guest that asked
        /// for no more requests and had nothing left to do that could take that back.
        Host = "host",
    }
}

words! {
    /// Why a request was turned away before any guest saw it.
    Refusal {
        /// No permit was to be had: all seats and queue places are taken.
        Overloaded = "overloaded",
        /// It waited in the queue for longer than `queue_timeout`.
        QueueTimeout = "queue-timeout",
        /// The instance started for it took longer than `start_timeout`.
        StartTimeout = "start-timeout",
        /// The allocator had no room for an instance until the end of `queue_timeout`.
        Exhausted = "resources-exhausted",
        /// The budget had no room for an instance until the end of `queue_timeout`.
        BudgetExhausted = "budget-exhausted",
        /// The instance started for it failed to start.
        StartFailed = "instantiation-failed",
        /// The pool is draining.
        Draining = "draining",
    }
}

/// What became of a request, as the conservation invariant counts it: exactly one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its response head was given to the caller.
    Responded,
    /// A guest saw it and no response came: a trap, a timeout.
    Failed,
    /// No guest saw it: see [`Refusal`].
    Refused,
    /// Its caller went away first.
    Cancelled,
}

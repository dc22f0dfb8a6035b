//! What a pool tells its budget.

/// All that a budget needs to know of a pool. Made by a pool that has a budget, as
/// [`Effect::Claim`](crate::state::Effect::Claim).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Counts the claims of this pool: the newest counts.
    pub revision: u64,
    /// Instances it would start for requests that wait, had it the grants.
    pub wanted: usize,
    /// Spares it would start.
    pub spares: usize,
    /// Idle instances, which it could give up.
    pub idle: usize,
    /// Instances that have been retired and whose stores are being dropped.
    pub leaving: usize,
    /// Instances that requests wait for though the allocator was full when last tried.
    pub starved: usize,
    /// Grants received so far.
    pub granted: u64,
    /// Grants given back so far: one for each instance whose store was dropped, or unused.
    pub released: u64,
    /// Stores dropped so far: each may have made room in the allocator. A start that found it full had
    /// none, a grant that was given back neither.
    pub dropped: u64,
    /// Requests to give up an idle instance that were seen so far.
    pub reclaims: u64,
    /// News of room in the allocator seen so far.
    pub rooms: u64,
}

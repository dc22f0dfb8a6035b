//! What the host may hold for a guest.

/// Limits on what the host holds for one instance, apart from its memories, and on what one of its calls
/// may make the host do.
///
/// # The sum
///
/// Beyond the memory that it was given, an instance costs the host at most 16 MiB, with these defaults. A
/// [`MemoryAccount`](crate::MemoryAccount) is charged for it either from the start of the instance, whether it is
/// held or not, or before it is held:
///
/// | | at most | charged |
/// | --- | --- | --- |
/// | resources: fields, bodies and their chunks, streams, requests that are under way, errors, files, and the room of headers that were deleted | [`resource_bytes`](Self::resource_bytes): 9 MiB | the first 1.8 MiB from its start, the rest before |
/// | what a single call adds before that is noticed: three times [`call_bytes`](Self::call_bytes), as a small header takes three times its bytes | 0.4 MiB | before |
/// | handle tables of its components: [`handles`](Self::handles) of 48 bytes each | 0.6 MiB | from its start |
/// | tasks, streams, futures and waitable sets of wasi 0.3: [`async_entries`](Self::async_entries) of 640 bytes each | 1.3 MiB | from its start |
/// | response bodies that have left for the client: two chunks and trailers each, of 16 requests at a time | 4 MiB | of the first, from its start; of others, not |
/// | tables: 100 000 elements of 8 bytes | 0.8 MiB | before |
/// | **all** | **16 MiB** | **3.8 MiB** from its start, 2.5 MiB with wasi 0.2 |
///
/// Not in it: the stacks of what runs (each 2 MiB of address space, of which wasm touches 512 KiB at most;
/// the engine has one for each instance, or three with wasi 0.3), and what a component has by its very
/// form, such as its instances (at most 64, of at most 1 MiB each).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostLimits {
    /// Bytes that a guest may pass to the host in one call, in strings and lists. Beyond it, the call traps.
    /// It takes the host less than a tick to look through as many. A map of fields may have half as many. Default: 128 KiB,
    /// twice what streams take at a time.
    pub call_bytes: usize,
    /// Resources that the host may hold for the guest. Beyond it, the call that would make another one traps.
    /// Default: 10 000.
    pub resources: usize,
    /// Bytes that these resources may take. A guest that goes beyond it is cut off: all of them are gone,
    /// and it traps when it asks for one. Default: 9 MiB.
    pub resource_bytes: usize,
    /// Handles in the tables of the guest's components. Beyond it, what would make another one traps.
    /// Default: 12 000.
    pub handles: usize,
    /// Tasks, threads, streams, futures and waitable sets of a guest of wasi 0.3. Beyond it, what would make
    /// another one traps. Default: 2048, of which a request takes a dozen or two.
    pub async_entries: usize,
    /// Bytes of a body that are taken from the guest at a time. Two such chunks wait to be sent. Where a guest
    /// has many bodies open, further ones get less. Default: 64 KiB.
    pub body_chunk: usize,
    /// Bytes of random data that a guest may ask for at a time. Default: 64 KiB.
    pub random_bytes: u64,
}

/// Bytes that an entry of a component's handle table takes, with what a doubled table has to spare.
pub(super) const HANDLE: usize = 48;
/// Bytes that an entry of the engine's asynchronous state takes, likewise.
pub(super) const ASYNC_ENTRY: usize = 640;
/// Bytes of resources that every instance may have without being charged for more.
const FEW: usize = 1 << 20;
/// Calls between two counts of the resources, of an instance that has few.
const CALLS: usize = 2;
/// Requests at a time on an instance, unless told otherwise.
const CONCURRENCY: usize = 16;

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            call_bytes: 128 << 10,
            resources: 10_000,
            resource_bytes: 9 << 20,
            handles: 12_000,
            async_entries: 2048,
            body_chunk: 64 << 10,
            random_bytes: 64 << 10,
        }
    }
}

impl HostLimits {
    /// Returns the most that one call can make the host hold.
    pub fn call_growth(&self) -> usize {
        self.call_bytes.saturating_mul(3)
    }

    /// Returns what to charge an instance for resources of so many bytes: with what its next calls may add, so that
    /// nothing need be counted before these.
    #[doc(hidden)]
    pub fn resources_charged(&self, bytes: usize) -> usize {
        // Where there are many, to count them takes longer, and is done more seldom.
        let ahead = self.call_growth().saturating_mul(CALLS).max(bytes / 2);
        let most = bytes.max(FEW).saturating_add(ahead).min(self.resource_bytes);
        // What the next call makes is not known before.
        most.max(bytes.saturating_add(self.call_growth()))
    }

    /// Returns what to charge an instance for from its start, as nothing counts it: handles, asynchronous state, if its guest
    /// is `concurrent` (of wasi 0.3), and a response.
    #[doc(hidden)]
    pub fn uncounted(&self, concurrent: bool) -> usize {
        let entries = if concurrent { self.async_entries } else { 0 }.saturating_mul(ASYNC_ENTRY);
        let handles = self.handles.saturating_mul(HANDLE);
        handles.saturating_add(entries).saturating_add(self.response())
    }

    /// What a response takes that has left for the client: two chunks, and its trailers.
    fn response(&self) -> usize {
        self.body_chunk.saturating_mul(2).saturating_add(self.call_bytes)
    }

    /// Returns the most that the host holds for an instance beyond its memories.
    pub fn most(&self) -> usize {
        let other_responses = self.response().saturating_mul(CONCURRENCY - 1);
        let tables = super::TABLE_ELEMENTS * super::TABLE_ELEMENT;
        [self.call_growth(), self.uncounted(true), other_responses, tables]
            .into_iter()
            .fold(self.resource_bytes, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::HostLimits;

    #[test]
    fn the_sum_is_at_most_16_mib() {
        let most = HostLimits::default().most();
        assert!(most <= 16 << 20, "{most}");
    }

    #[test]
    fn from_its_start_it_is_charged_little() {
        let limits = HostLimits::default();
        let from_start = |concurrent| limits.resources_charged(0) + limits.uncounted(concurrent);
        let tenths = |bytes: usize| (bytes * 10).div_ceil(1 << 20);
        // As the documentation of the limits and the guide have it.
        assert_eq!((tenths(from_start(false)), tenths(from_start(true))), (26, 38));
    }

    #[test]
    fn a_call_is_charged_before_it_is_made() {
        let limits = HostLimits::default();
        for bytes in [0, 1 << 10, 1 << 20, 5 << 20, limits.resource_bytes] {
            let charged = limits.resources_charged(bytes);
            assert!(charged >= bytes + limits.call_growth(), "{bytes}: {charged}");
            assert!(charged <= limits.resource_bytes + limits.call_growth(), "{bytes}: {charged}");
        }
    }

    #[test]
    fn limits_may_be_without_end() {
        let (call_bytes, resource_bytes, handles) = (usize::MAX, usize::MAX, usize::MAX);
        let limits = HostLimits { call_bytes, resource_bytes, handles, ..HostLimits::default() };
        assert_eq!((limits.resources_charged(1), limits.most()), (usize::MAX, usize::MAX));
    }
}

//! What the host may hold for a guest.

/// Limits on what the host holds for one instance, apart from its memories, and on what one of its calls
/// may make the host do.
///
/// # The sum
///
/// Beyond the memory that it was given, an instance costs the host at most 16 MiB, with these defaults:
///
/// | | |
/// | --- | --- |
/// | resources: fields, bodies and their chunks, streams, requests that are under way, errors, files | [`resource_bytes`](Self::resource_bytes): 7 MiB |
/// | the room of headers that were deleted | 2 MiB |
/// | what a single call adds before that is noticed: three times [`call_bytes`](Self::call_bytes), as a small header takes three times its bytes | 0.4 MiB |
/// | handle tables of its components: [`handles`](Self::handles) of 48 bytes each | 1 MiB |
/// | tasks, streams, futures and waitable sets of wasi 0.3: [`async_entries`](Self::async_entries) of 640 bytes each | 2.5 MiB |
/// | response bodies that have left for the client: two chunks each, of 16 requests at a time | 2 MiB |
/// | tables: 100 000 elements of 8 bytes | 0.8 MiB |
/// | **all** | **15.7 MiB** |
///
/// Not in it: the stacks of what runs (each 2 MiB of address space, of which wasm touches 512 KiB at most;
/// the engine has one for each instance, or three with wasi 0.3), and what a component has by its very
/// form, such as its instances (at most 64, of at most 1 MiB each).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostLimits {
    /// Bytes that a guest may pass to the host in one call, in strings and lists. Beyond it, the call traps.
    /// It takes the host less than a tick to look through as many. Default: 128 KiB, twice what streams
    /// take at a time.
    pub call_bytes: usize,
    /// Resources that the host may hold for the guest. Beyond it, the call that would make another one traps.
    /// Default: 10 000.
    pub resources: usize,
    /// Bytes that these resources may take. A guest that goes beyond it is cut off from the host: its next
    /// call traps. Default: 7 MiB.
    pub resource_bytes: usize,
    /// Handles in the tables of the guest's components. Beyond it, what would make another one traps.
    /// Default: 20 000.
    pub handles: usize,
    /// Tasks, threads, streams, futures and waitable sets of a guest of wasi 0.3. Beyond it, what would make
    /// another one traps. Default: 4096.
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
/// Bytes that deleted headers take before they are given back.
const DELETED: usize = 2 << 20;
/// Requests at a time on an instance, unless told otherwise.
const CONCURRENCY: usize = 16;

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            call_bytes: 128 << 10,
            resources: 10_000,
            resource_bytes: 7 << 20,
            handles: 20_000,
            async_entries: 4096,
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

    /// Returns the most that the host holds for an instance beyond its memories.
    pub fn most(&self) -> usize {
        let responses = 2 * self.body_chunk * CONCURRENCY;
        self.resource_bytes
            + DELETED
            + self.call_growth()
            + self.handles * HANDLE
            + self.async_entries * ASYNC_ENTRY
            + responses
            + super::TABLE_ELEMENTS * super::TABLE_ELEMENT
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
}

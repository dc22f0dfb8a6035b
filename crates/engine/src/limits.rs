//! What a guest may hold.

use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};

/// Bytes of linear memory that an instance may have, unless told otherwise: 256 MiB.
pub const DEFAULT_MAX_MEMORY: usize = 256 << 20;

/// Limits on each thing in a store, and one on all its memories together.
pub struct GuestLimits {
    each: StoreLimits,
    /// Bytes of linear memory so far.
    memory: usize,
    max_memory: usize,
}

impl GuestLimits {
    /// With a limit on the bytes of all linear memory.
    pub fn new(max_memory: usize) -> Self {
        let each =
            StoreLimitsBuilder::new().memories(4).tables(32).table_elements(20_000).instances(64);
        Self { each: each.build(), memory: 0, max_memory }
    }

    /// Bytes of linear memory that it holds.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for GuestLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        if memory > self.max_memory || !self.each.memory_growing(current, desired, maximum)? {
            return Ok(false);
        }
        self.memory = memory;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.each.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.each.instances()
    }

    fn tables(&self) -> usize {
        self.each.tables()
    }

    fn memories(&self) -> usize {
        self.each.memories()
    }
}

impl std::fmt::Debug for GuestLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestLimits").field("memory", &self.memory).finish_non_exhaustive()
    }
}

//! What a guest may hold.
//!
//! [`GuestLimits`] bounds the memories and tables of a store, [`HostLimits`] what the host holds for its guest
//! besides, and a [`MemoryAccount`] what all guests hold together.

mod account;
mod host;

use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};

pub use account::{Charge, MemoryAccount, MemoryExhausted};
pub use host::HostLimits;

/// Bytes of linear memory that an instance may have, unless told otherwise: 256 MiB.
pub const DEFAULT_MAX_MEMORY: usize = 256 << 20;

/// Elements that all tables of an instance may have together.
const TABLE_ELEMENTS: usize = 100_000;
/// Bytes of each of them.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// Limits on each thing in a store, one on all its memories together, and one on all its tables. Heaps of
/// garbage-collected values, such as exceptions, count as memories.
pub struct GuestLimits {
    each: StoreLimits,
    /// Bytes of linear memory so far.
    memory: usize,
    max_memory: usize,
    /// Elements of tables so far.
    elements: usize,
    /// What was allowed last, in case the engine cannot do it.
    last: Option<Growth>,
    /// Of memories and tables.
    charge: Charge,
}

#[derive(Clone, Copy)]
enum Growth {
    Memory(usize),
    Table(usize),
}

/// What the engine says when it refuses a growth for which it has not asked.
const NEVER_ASKED: [&str; 2] =
    ["memory growth exceeds memory type's limits", "overflow calculating new table size"];

impl GuestLimits {
    /// Makes limits with one on the bytes of all linear memory. What is held is charged to the account.
    pub fn new(max_memory: usize, account: Option<MemoryAccount>) -> Self {
        let each =
            StoreLimitsBuilder::new().memories(4).tables(32).table_elements(20_000).instances(64);
        Self {
            each: each.build(),
            memory: 0,
            max_memory,
            elements: 0,
            last: None,
            charge: Charge::new(account),
        }
    }

    /// Returns the bytes of linear memory that it holds.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Takes up a growth, if there is room for it. A new memory or table without room in the account is a
    /// start that may succeed later.
    fn grow(&mut self, growth: Growth, is_new: bool) -> wasmtime::Result<bool> {
        let (memory, elements) = match growth {
            Growth::Memory(bytes) => (self.memory.saturating_add(bytes), self.elements),
            Growth::Table(elements) => (self.memory, self.elements.saturating_add(elements)),
        };
        if memory > self.max_memory || elements > TABLE_ELEMENTS {
            return Ok(false);
        }
        if !self.charge.set(memory + elements * TABLE_ELEMENT) {
            let exhausted = self.charge.refuse();
            return if is_new { Err(exhausted.into()) } else { Ok(false) };
        }
        (self.memory, self.elements) = (memory, elements);
        self.last = Some(growth);
        Ok(true)
    }

    /// Takes back what was allowed and could not be done.
    fn failed(&mut self, error: &wasmtime::Error) {
        let last = self.last.take();
        if NEVER_ASKED.contains(&error.to_string().as_str()) {
            return;
        }
        match last {
            Some(Growth::Memory(bytes)) => self.memory -= bytes,
            Some(Growth::Table(elements)) => self.elements -= elements,
            None => return,
        }
        let _ = self.charge.set(self.memory + self.elements * TABLE_ELEMENT);
    }
}

impl ResourceLimiter for GuestLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last = None;
        if !self.each.memory_growing(current, desired, maximum)? {
            return Ok(false);
        }
        self.grow(Growth::Memory(desired.saturating_sub(current)), current == 0)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last = None;
        if !self.each.table_growing(current, desired, maximum)? {
            return Ok(false);
        }
        self.grow(Growth::Table(desired.saturating_sub(current)), current == 0)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error);
        Ok(())
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

#[cfg(test)]
mod tests;

//! The engine that guests are compiled for.
//!
//! Concurrency support is a property of the whole engine and costs each call something, so a
//! component that uses nothing asynchronous gets an engine without it.

use std::path::PathBuf;

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

/// Bytes of each memory that stay with a slot of the allocator when its instance has ended.
const KEEP_RESIDENT: usize = 1 << 20;

/// What an engine is made for.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// What it runs.
    pub guests: Guests,
    /// How many instances at a time. `usize::MAX`: as many as there is memory for, each of which is
    /// allocated when it starts.
    pub max_instances: usize,
    /// Bytes of linear memory for each instance.
    pub max_memory: usize,
    /// Where compiled code is kept.
    pub cache: CacheChoice,
    /// Traps come with a core dump.
    pub core_dumps: bool,
}

/// What an engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// Core modules.
    Modules,
    /// Components.
    Components {
        /// They use the asynchronous part of the component model.
        concurrency: bool,
    },
}

/// Where compiled code is kept.
#[derive(Clone, Debug, Default)]
pub enum CacheChoice {
    /// In the user's cache directory.
    #[default]
    Default,
    /// As this configuration file of wasmtime's cache says.
    File(PathBuf),
    /// Nowhere.
    Off,
}

impl EngineConfig {
    /// An engine with the pooling allocator; where the address space is too short for that, one that
    /// allocates on demand. Its epochs stand still until
    /// [`start_epoch_ticker`](crate::start_epoch_ticker) is called with it.
    ///
    /// # Errors
    ///
    /// If this machine, or the cache's configuration, does not allow it.
    pub fn engine(&self) -> wasmtime::Result<Engine> {
        let concurrency = self.guests == Guests::Components { concurrency: true };
        let mut config = Config::new();
        config
            .wasm_component_model(self.guests != Guests::Modules)
            .wasm_component_model_async(concurrency)
            .concurrency_support(concurrency)
            .epoch_interruption(true)
            .wasm_gc(false)
            .coredump_on_trap(self.core_dumps)
            .cache(cache(&self.cache)?);
        if self.max_instances == usize::MAX {
            Engine::new(&config)
        } else {
            let mut pooling = config.clone();
            let allocation = InstanceAllocationStrategy::Pooling(self.allocation());
            pooling.allocation_strategy(allocation);
            Engine::new(&pooling).or_else(|error| {
                let error = error.root_cause().to_string();
                tracing::warn!(error, "no pooling allocator, allocating on demand");
                Engine::new(&config)
            })
        }
    }

    fn allocation(&self) -> PoolingAllocationConfig {
        let instances = u32::try_from(self.max_instances).unwrap_or(u32::MAX).max(1);
        let each = |count: u32| instances.saturating_mul(count);
        let mut pooling = PoolingAllocationConfig::new();
        // One heap for each instance: an exception that is thrown is allocated there. It takes the place of a
        // memory, and its bytes count as a memory's.
        pooling.total_stacks(instances).total_gc_heaps(instances).max_memory_size(self.max_memory);
        match self.guests {
            Guests::Modules => {
                pooling
                    .total_component_instances(0)
                    .total_core_instances(instances)
                    .total_memories(each(2))
                    .max_tables_per_module(4)
                    .total_tables(each(4));
            }
            Guests::Components { concurrency } => {
                pooling
                    .total_component_instances(instances)
                    .max_core_instances_per_component(64)
                    .total_core_instances(each(64))
                    .max_memories_per_component(4)
                    .total_memories(each(5))
                    .max_tables_per_component(32)
                    .total_tables(each(32));
                if concurrency {
                    // A guest task that waits in the middle of a synchronous call keeps a stack. Not
                    // more of them: each takes two memory mappings, of which Linux gives a process
                    // 65 530.
                    pooling.total_stacks(each(3));
                }
            }
        }
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            // What a guest has touched is found by a scan and written over, not given back to the kernel
            // and faulted in again by the next guest. Without the scan all of it would be written over.
            pooling
                .pagemap_scan(Enabled::Auto)
                .linear_memory_keep_resident(KEEP_RESIDENT)
                .table_keep_resident(KEEP_RESIDENT);
        }
        pooling
    }
}

fn cache(choice: &CacheChoice) -> wasmtime::Result<Option<Cache>> {
    match choice {
        CacheChoice::Off => Ok(None),
        CacheChoice::File(path) => Cache::from_file(Some(path)).map(Some),
        CacheChoice::Default => Ok(Cache::new(CacheConfig::new())
            .inspect_err(|error| {
                let error = error.to_string();
                tracing::warn!(error, "compiled code is not cached");
            })
            .ok()),
    }
}

//! The engine a component is compiled for.
//!
//! Concurrency support is a property of the whole engine and costs each call something, so a
//! component that uses nothing asynchronous gets an engine without it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

use crate::reply::lock;

/// How often guests are interrupted, so that one that computes without end can be stopped and
/// lets the others on its thread run.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Bytes of each memory that stay with a slot of the allocator when its instance has ended.
const KEEP_RESIDENT: usize = 1 << 20;

/// What an engine is made for.
pub(crate) struct EngineNeeds {
    /// The component uses the asynchronous part of the component model.
    pub(crate) concurrency: bool,
    pub(crate) max_instances: usize,
    /// Bytes of linear memory for each instance.
    pub(crate) max_memory: usize,
    pub(crate) cache: CacheChoice,
    /// Traps come with a core dump.
    pub(crate) core_dumps: bool,
}

/// Where compiled code is kept.
#[derive(Clone, Debug, Default)]
pub(crate) enum CacheChoice {
    /// In the user's cache directory.
    #[default]
    Default,
    File(std::path::PathBuf),
    Off,
}

/// An engine with the pooling allocator; where the address space is too short for that, one
/// that allocates on demand.
pub(crate) fn engine(needs: &EngineNeeds) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(needs.concurrency)
        .concurrency_support(needs.concurrency)
        .epoch_interruption(true)
        .wasm_gc(false)
        .coredump_on_trap(needs.core_dumps)
        .cache(cache(&needs.cache)?);
    let mut pooling = config.clone();
    pooling.allocation_strategy(InstanceAllocationStrategy::Pooling(allocation(needs)));
    let engine = Engine::new(&pooling).or_else(|error| {
        let error = error.root_cause().to_string();
        tracing::warn!(error, "no pooling allocator, allocating on demand");
        Engine::new(&config)
    })?;
    tick(&engine);
    Ok(engine)
}

fn allocation(needs: &EngineNeeds) -> PoolingAllocationConfig {
    let instances = u32::try_from(needs.max_instances).unwrap_or(u32::MAX).max(1);
    let each = |count: u32| instances.saturating_mul(count);
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(instances)
        .total_stacks(instances)
        .max_core_instances_per_component(64)
        .total_core_instances(each(64))
        .max_memories_per_component(4)
        .total_memories(each(4))
        .max_tables_per_component(32)
        .total_tables(each(32))
        .total_gc_heaps(0)
        .max_memory_size(needs.max_memory);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        // What a guest has touched is found by a scan and written over, not given back to the kernel
        // and faulted in again by the next guest. Without the scan all of it would be written over.
        pooling
            .pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(KEEP_RESIDENT);
    }
    if needs.concurrency {
        // A guest task that waits in the middle of a synchronous call keeps a stack. Not more of
        // them: each takes two memory mappings, of which Linux gives a process 65 530.
        pooling.total_stacks(each(3));
    }
    pooling
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

/// Moves the engine's epoch on, in a thread that ends with the engine. One for each engine: several
/// pools may share one. Gives what counts them.
pub(crate) fn tick(engine: &Engine) -> Arc<AtomicU64> {
    static TICKING: Mutex<Vec<(EngineWeak, Arc<AtomicU64>)>> = Mutex::new(Vec::new());
    let mut ticking = lock(&TICKING);
    ticking.retain(|(other, _)| other.upgrade().is_some());
    let is_this = |other: &EngineWeak| other.upgrade().is_some_and(|o| Engine::same(&o, engine));
    if let Some((_, ticks)) = ticking.iter().find(|(other, _)| is_this(other)) {
        return Arc::clone(ticks);
    }
    let ticks = Arc::new(AtomicU64::new(0));
    ticking.push((engine.weak(), Arc::clone(&ticks)));
    drop(ticking);
    let (engine, counted) = (engine.weak(), Arc::clone(&ticks));
    let ticker = std::thread::Builder::new().name("millpond-epoch".to_owned());
    let spawned = ticker.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            counted.fetch_add(1, Ordering::Relaxed);
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "guests that compute without end cannot be stopped");
    }
    ticks
}

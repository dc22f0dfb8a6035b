//! Limits, as a store keeps them.

use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store,
};

use super::{GuestLimits, MemoryAccount, MemoryExhausted};

const PAGE: usize = 64 << 10;

fn engine() -> Engine {
    // Memories of two pages at most.
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_memories(8).max_memory_size(2 * PAGE).total_core_instances(8).total_tables(8);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    Engine::new(&config).expect("an engine")
}

/// An instance that has grown as it was told to.
struct Grown {
    store: Store<GuestLimits>,
    instance: Instance,
}

impl Grown {
    fn new(engine: &Engine, limits: GuestLimits) -> wasmtime::Result<Self> {
        let module = r#"(module
            (memory 1)
            (table i64 0 funcref)
            (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "table") (param i64) (result i64) (table.grow (ref.null func) (local.get 0))))"#;
        let mut store = Store::new(engine, limits);
        store.limiter(|limits| limits);
        let instance = Instance::new(&mut store, &Module::new(engine, module)?, &[])?;
        Ok(Self { store, instance })
    }

    fn memory(&mut self, pages: i32) -> i32 {
        let grow = self.instance.get_typed_func::<i32, i32>(&mut self.store, "memory");
        grow.expect("exported").call(&mut self.store, pages).expect("no trap")
    }

    fn table(&mut self, elements: i64) -> i64 {
        let grow = self.instance.get_typed_func::<i64, i64>(&mut self.store, "table");
        grow.expect("exported").call(&mut self.store, elements).expect("no trap")
    }
}

#[test]
fn growth_that_fails_is_taken_back() {
    let account = MemoryAccount::new(100 * PAGE);
    let limits = GuestLimits::new(10 * PAGE, Some(account.clone()));
    let mut grown = Grown::new(&engine(), limits).expect("it starts");
    for _ in 0..5 {
        assert_eq!(grown.memory(4), -1, "the allocator's memories have two pages");
        assert_eq!((grown.store.data().memory(), account.used()), (PAGE, PAGE));
    }
    assert_eq!(grown.memory(1), 1);
    assert_eq!((grown.store.data().memory(), account.used()), (2 * PAGE, 2 * PAGE));
    drop(grown);
    assert_eq!(account.used(), 0);
}

#[test]
fn what_was_grown_is_not_taken_back() {
    let account = MemoryAccount::new(100 * PAGE);
    let limits = GuestLimits::new(10 * PAGE, Some(account.clone()));
    let mut grown = Grown::new(&engine(), limits).expect("it starts");
    assert_eq!(grown.table(1000), 0);
    let used = account.used();
    assert_eq!(used, PAGE + 8000);
    // The engine refuses this without having asked, and says that it failed.
    assert_eq!(grown.table(-1), -1);
    assert_eq!(account.used(), used);
}

#[test]
fn all_tables_together_have_a_limit() {
    let mut limits = GuestLimits::new(PAGE, None);
    let grow = |limits: &mut GuestLimits| {
        wasmtime::ResourceLimiter::table_growing(limits, 0, 20_000, None).expect("no trap")
    };
    assert_eq!([(); 6].map(|()| grow(&mut limits)), [true, true, true, true, true, false]);
}

#[test]
fn instances_share_an_account() {
    let (engine, account) = (engine(), MemoryAccount::new(3 * PAGE));
    let start = || Grown::new(&engine, GuestLimits::new(10 * PAGE, Some(account.clone())));
    let mut first = start().expect("there is room");
    let second = start().expect("there is room");
    assert_eq!((first.memory(1), first.memory(1)), (1, -1), "the third page was the last");
    let Err(error) = start() else { panic!("there is no room") };
    assert!(
        error.is::<MemoryExhausted>() && super::super::failure::is_exhaustion(&error),
        "{error:?}"
    );
    drop(second);
    start().expect("there is room again");
}

#[test]
fn no_room_ever_is_no_exhaustion() {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_memories(0);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    let engine = Engine::new(&config).expect("an engine");
    let module = Module::new(&engine, "(module (memory 1))").expect("it compiles");
    let error = Instance::new(&mut Store::new(&engine, ()), &module, &[]).expect_err("no room");
    assert!(error.is::<wasmtime::PoolConcurrencyLimitError>(), "{error:?}");
    assert!(!super::super::failure::is_exhaustion(&error), "{error:?}");
}

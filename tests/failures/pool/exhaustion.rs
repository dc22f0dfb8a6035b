//! The allocator holds fewer instances than the pool may have: requests wait for room, and nothing
//! fails before its deadline.

use std::error::Error as _;
use std::time::Duration;

use futures::future::join_all;
use http_body_util::Empty;
use millpond::wasmtime::component::Component;
use millpond::wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolConcurrencyLimitError,
    PoolingAllocationConfig,
};
use millpond::{
    ErrorKind, InstantiationError, Limits, Output, Reason, Share, SharedBudget, WasiHost, WasmPool,
};
use millpond_tests::{Server, guest};

use crate::setup::{Held, Sent, Setup, assert_answer, assert_failure, drain};

/// An allocator that has room for `instances`, for any number of pools.
fn allocator(instances: u32) -> Engine {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_component_instances(instances).max_memory_size(64 << 20);
    pooling.max_core_instances_per_component(20).max_memories_per_component(4);
    pooling.max_tables_per_component(32);
    let mut config = Config::new();
    config.wasm_component_model_async(true).epoch_interruption(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    config.cache(Cache::new(CacheConfig::new()).ok());
    Engine::new(&config).expect("an engine")
}

async fn component(setup: Setup, engine: &Engine) -> Component {
    let (engine, version) = (engine.clone(), setup.version());
    let compiled = move || Component::from_file(&engine, guest(version)).expect("it compiles");
    tokio::task::spawn_blocking(compiled).await.expect("no panic")
}

fn pool(
    setup: Setup,
    component: &Component,
    budget: Option<&SharedBudget>,
    change: impl FnOnce(&mut Limits) + Send + 'static,
) -> WasmPool {
    let host = WasiHost::new().output(Output::None);
    let mut builder = WasmPool::builder(host).limits(move |limits| {
        setup.limits(limits);
        // It does not know what the allocator holds.
        limits.max_instances = 1000;
        limits.concurrency = if setup.is_shared() { 2 } else { 1 };
        change(limits);
    });
    if let Some(budget) = budget {
        builder = builder.budget(budget, Share::default());
    }
    builder.from_component(component).expect("a pool")
}

async fn a_full_allocator_makes_clients_wait(setup: Setup) {
    let component = component(setup, &allocator(8)).await;
    let server = Server::start(pool(setup, &component, None, |_| ())).await;
    let replies = join_all((0..64).map(|_| server.get("/sleep?ms=50"))).await;
    for reply in &replies {
        assert_answer(reply, "slept\n");
    }
    let now = drain(&server).await;
    assert_eq!((now.responded, now.failed, now.refused, now.overloaded), (64, 0, 0, 0));
    let longest = now.queue_wait.quantile(1.0).expect("64 waited");
    assert!(longest <= Limits::default().queue_timeout, "one waited for up to {longest:?}");
    if !setup.is_shared() {
        assert!(now.failed_starts > 0, "it did not know: {now:?}");
        assert!(now.failed_starts < 100, "it learned: {now:?}");
    }
}
setups!(a_full_allocator_makes_clients_wait);

async fn waiting_for_the_allocator_has_a_deadline(setup: Setup) {
    let component = component(setup, &allocator(1)).await;
    let first = Server::start(pool(setup, &component, None, |_| ())).await;
    let second = pool(setup, &component, None, |limits| {
        limits.queue_timeout = Duration::from_millis(200);
    });
    let held = Held::hold(&first).await;

    let permit = second.reserve().await.expect("a place");
    let request = http::Request::get("http://localhost/hello").body(Empty::new()).expect("good");
    let Err(error) = second.serve(permit, request).await else { panic!("there is no room") };
    assert_eq!((error.kind(), error.status()), (ErrorKind::ResourcesExhausted, 503));
    assert!(!error.request_started());
    let cause = error.source().expect("a cause").downcast_ref::<InstantiationError>();
    let cause = cause.expect("which limit it was").source().expect("wasmtime's error");
    assert!(cause.is::<PoolConcurrencyLimitError>(), "{cause}");

    let second = Server::start(second).await;
    let details = "resources exhausted";
    assert_failure(&second.get("/hello").await, 503, "connection_limit_reached", details);
    let now = second.pool.snapshot();
    assert_eq!((now.refused, now.failed, now.instances.live()), (2, 0, 0));

    // Room in another pool is found by trying now and then.
    let waits = Sent::get(&second, "/hello");
    assert_answer(&held.let_go().await, "0");
    first.pool.drain().await;
    let mut reply = waits.reply().await;
    if reply.status != 200 {
        // The drain took longer than its patience.
        reply = second.get("/hello").await;
    }
    assert_answer(&reply, "hello\n");
}
setups!(waiting_for_the_allocator_has_a_deadline);

async fn idle_instances_of_others_make_room(setup: Setup) {
    let component = component(setup, &allocator(1)).await;
    // The budget has more than the allocator.
    let budget = SharedBudget::new(millpond::BudgetLimits::instances(10));
    let first = Server::start(pool(setup, &component, Some(&budget), |_| ())).await;
    let second = Server::start(pool(setup, &component, Some(&budget), |_| ())).await;
    assert_answer(&first.get("/hello").await, "hello\n");
    let now = first.until("it is idle", |now| now.instances.idle == 1).await;
    assert_eq!(now.retired.total(), 0);
    assert_answer(&second.get("/hello").await, "hello\n");
    let now = first.until("it was reclaimed", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Pressure), now.retired.total()), (1, 1));
}
setups!(idle_instances_of_others_make_room: p2_reused p3_shared);

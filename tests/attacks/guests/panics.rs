//! Functions of the host that panic.

use millpond::wasmtime::component::Linker;
use millpond::wasmtime::{self, ResourceLimiter};
use millpond::{Host, InstanceId, Output, Reason, StoreData, WasiHost, WasmPool};
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::Server;

use super::{came_to_its_end, component, ends, serve_component};

/// Gives guests a function that panics.
struct Panics(WasiHost);

const IMPORT: &str = "test:host/panic";

impl Host for Panics {
    type Data = StoreData;

    fn data(&self, id: InstanceId) -> wasmtime::Result<StoreData> {
        self.0.data(id)
    }

    fn limiter(data: &mut StoreData) -> &mut dyn ResourceLimiter {
        data.limiter()
    }

    fn link(&self, linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
        self.0.link(linker)?;
        linker
            .instance(IMPORT)?
            .func_wrap("panic", |_, (): ()| -> wasmtime::Result<()> { panic!("told to panic") })
    }

    fn link_concurrent(&self, linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
        self.0.link_concurrent(linker)
    }

    fn provides(&self, import: &str) -> bool {
        import == IMPORT || self.0.provides(import)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_host_function_ends_one() {
    let canon = r#"(import "test:host/panic" (instance $host (export "panic" (func))))
        (core func $panic (canon lower (func $host "panic")))
        (core instance $canon (export "panic" (func $panic)))"#;
    let imports = r#"(with "canon" (instance $canon))"#;
    let handle = |what| format!(r#"(func (export "handle") (param i32 i32) {what})"#);
    let module = format!(r#"(import "canon" "panic" (func $panic)) {}"#, handle("(call $panic)"));
    let component_of = component(canon, imports, &module);
    let host = Panics(WasiHost::new().output(Output::None).max_memory(64 << 20));
    let builder = WasmPool::builder(host).without_cache();
    let built = tokio::task::spawn_blocking(move || builder.from_bytes(component_of.as_bytes()));
    let hostile = Server::start(built.await.expect("no panic").expect("a component")).await;
    // Beside it, on the same threads.
    let good = serve_component(component("", "", &handle("")), |builder| builder).await;
    for protocol in [Http1, H2c, Http1, H2c] {
        let mut client = hostile.connect(protocol).await;
        let (reply, beside) = tokio::join!(client.get("/"), good.get("/"));
        assert_eq!(reply.status, 500, "{reply:?}");
        assert_eq!(reply.text(), "host panic\n");
        assert!(came_to_its_end(&beside));
    }
    let drained = tokio::time::timeout(millpond_tests::PATIENCE, hostile.pool.drain());
    drained.await.expect("the drain ends");
    let now = hostile.pool.snapshot();
    assert_eq!((now.unaccounted(), now.instances.live(), now.busy), (0, 0, 0), "{now:?}");
    assert_eq!((now.starts, now.retired.get(Reason::Host)), (4, 4));
    ends(&good).await;
}

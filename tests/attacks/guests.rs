//! Guests that do what no guest should, one kind for each file.

use futures::future::join_all;
use millpond::HttpVersion::{self, P2, P3};
use millpond::{Builder, InstanceGauges, MaxRequests, Output, Snapshot, WasiHost, WasmPool};
use millpond_tests::{PATIENCE, Server, pool_of};

mod answers;
mod calls;
mod exceptions;
mod headers;
mod panics;
mod secrets;
mod starts;
mod traps;

/// A pool of fresh instances, of 0.2 and of 0.3, and one of 0.3 whose instances are shared.
const WAYS: [(HttpVersion, usize); 3] = [(P2, 1), (P3, 1), (P3, 16)];

type Way = (HttpVersion, usize);

async fn serve(
    (version, concurrency): Way,
    change: impl FnOnce(Builder<WasiHost>) -> Builder<WasiHost>,
) -> Server {
    let builder = WasmPool::builder(WasiHost::new().output(Output::None)).limits(move |limits| {
        limits.max_instances = 8;
        limits.concurrency = concurrency;
        if concurrency == 1 {
            limits.max_requests = MaxRequests::exactly(1);
        }
    });
    Server::start(pool_of(version, change(builder)).await).await
}

/// A pool of this component, in binary or as text.
async fn serve_component(
    component: String,
    change: impl FnOnce(Builder<WasiHost>) -> Builder<WasiHost>,
) -> Server {
    let host = WasiHost::new().output(Output::None).max_memory(64 << 20);
    let builder = change(WasmPool::builder(host).without_cache());
    let built = tokio::task::spawn_blocking(move || builder.from_bytes(component.as_bytes()));
    Server::start(built.await.expect("no panic").expect("a component")).await
}

/// A component of wasi:http 0.2. The module has this in it, may import functions made by these
/// definitions as an instance `$canon`, and gives no answer: what it does is seen by how it ends.
fn component(canon: &str, imports: &str, module: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            {canon}
            (core module $module {module})
            (core instance $instance (instantiate $module {imports}))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $instance "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    )
}

/// Whether a component's handler came to its end, without an answer. Else it trapped.
fn came_to_its_end(reply: &millpond_tests::Reply) -> bool {
    assert_eq!(reply.status, 500, "{reply:?}");
    let details = reply.headers["proxy-status"].to_str().expect("text");
    match details.contains("no response") {
        true => true,
        false => {
            assert!(details.contains("guest trapped"), "{details}");
            false
        }
    }
}

/// Requests of others. In a shared instance they may go down with their neighbour.
async fn innocents(server: &Server) {
    let all = join_all((0..4).map(|_| server.get("/hello"))).await;
    for reply in all {
        assert_eq!((reply.status.as_u16(), reply.text(), reply.broken), (200, "hello\n", false));
    }
}

/// Drains the pool: everything was counted, and every gauge is 0.
async fn ends(server: &Server) -> Snapshot {
    let drained = tokio::time::timeout(PATIENCE, server.pool.drain());
    drained.await.expect("the drain ends");
    let now = server.pool.snapshot();
    assert_eq!(now.unaccounted(), 0, "{now:?}");
    assert_eq!((now.queued, now.starting, now.busy, now.streaming, now.abandoned), (0, 0, 0, 0, 0));
    assert_eq!((now.permits_reserved, now.permits_free), (0, 0));
    assert_eq!(now.instances, InstanceGauges::default());
    assert_eq!(now.retired.total(), now.starts);
    now
}

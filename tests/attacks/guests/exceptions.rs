//! Guests that throw.

use millpond::{Output, WasiHost, WasmPool};
use millpond_tests::{Reply, Server};

/// A component of wasi:http 0.2 whose handler does this, and gives no answer.
fn component(handle: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (core module $module
                (tag $thrown (param i32))
                (func (export "handle") (param i32 i32) (local $n i32) {handle}))
            (core instance $instance (instantiate $module))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $instance "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    )
}

async fn answer(handle: &str, max_memory: usize) -> Reply {
    let text = component(handle);
    let host = WasiHost::new().output(Output::None).max_memory(max_memory);
    let builder = WasmPool::builder(host).without_cache();
    let built = tokio::task::spawn_blocking(move || builder.from_bytes(text.as_bytes()));
    let server = Server::start(built.await.expect("no panic").expect("a component")).await;
    server.get("/").await
}

fn details(reply: &Reply) -> &str {
    reply.headers["proxy-status"].to_str().expect("text")
}

#[tokio::test]
async fn a_guest_may_throw() {
    // More than fit into its memory at a time.
    let handle = "(loop $again
        (block $caught (result i32)
            (try_table (catch $thrown $caught) (throw $thrown (local.get $n)))
            (unreachable))
        (drop)
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 10000))))";
    let reply = answer(handle, 128 << 10).await;
    assert_eq!(reply.status, 500);
    assert!(details(&reply).contains("no response"), "it came to its end: {}", details(&reply));
}

#[tokio::test]
async fn what_is_thrown_and_not_caught_traps() {
    let reply = answer("(throw $thrown (i32.const 1))", 1 << 20).await;
    assert_eq!(reply.status, 500);
    assert!(!details(&reply).contains("no response"), "{}", details(&reply));
}

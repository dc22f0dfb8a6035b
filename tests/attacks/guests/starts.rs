//! Guests that do their harm while they start, and bombs of what a component makes by itself.

use std::time::Duration;

use millpond::Reason;

use super::{came_to_its_end, component, ends, serve_component};

const NO_HANDLER: &str = r#"(func (export "handle") (param i32 i32))"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_start_is_given_up() {
    let module = format!("(func $spin (loop $on (br $on))) (start $spin) {NO_HANDLER}");
    let hostile = serve_component(component("", "", &module), |builder| {
        builder.limits(|limits| limits.start_timeout = Duration::from_millis(300))
    })
    .await;
    // Beside it, on the same threads.
    let good = serve_component(component("", "", NO_HANDLER), |builder| builder).await;
    let (reply, ()) = tokio::join!(hostile.get("/"), async {
        for _ in 0..20 {
            assert!(came_to_its_end(&good.get("/").await));
        }
    });
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.text().contains("start timeout"), "{reply:?}");
    let now = ends(&hostile).await;
    assert_eq!((now.failed_starts, now.retired.get(Reason::Timeout)), (1, 1));
    ends(&good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_a_start_fails_one_request() {
    let module = format!("(func $deep (call $deep) (nop)) (start $deep) {NO_HANDLER}");
    let server = serve_component(component("", "", &module), |builder| builder).await;
    for _ in 0..5 {
        assert_eq!(server.get("/").await.status, 500);
    }
    let now = ends(&server).await;
    assert_eq!((now.failed_starts, now.starts), (5, 5));
}

/// Calls something until it has succeeded `n` times.
fn repeat(n: u32, what: &str) -> String {
    format!(
        r#"(func (export "handle") (param i32 i32) (local $n i32)
            (loop $again
                {what}
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const {n})))))"#
    )
}

/// What a handler ends with that repeats this, in a module with these definitions.
async fn comes_to_its_end(canon: &str, imports: &str, module: String) -> bool {
    let server = serve_component(component(canon, imports, &module), |builder| builder).await;
    let end = came_to_its_end(&server.get("/").await);
    ends(&server).await;
    end
}

/// Handles to resources of the guest's own.
#[tokio::test]
async fn own_resources_are_bounded() {
    let canon = r#"(type $own (resource (rep i32)))
        (core func $new (canon resource.new $own))
        (core instance $canon (export "new" (func $new)))"#;
    let imports = r#"(with "canon" (instance $canon))"#;
    let bomb = |n| {
        let import = r#"(import "canon" "new" (func $new (param i32) (result i32)))"#;
        format!("{import} {}", repeat(n, "(drop (call $new (i32.const 1)))"))
    };
    assert!(comes_to_its_end(canon, imports, bomb(10_000)).await);
    assert!(!comes_to_its_end(canon, imports, bomb(1_000_000)).await, "1 000 000 handles");
}

/// Waitable sets that nothing joins.
#[tokio::test]
async fn waitable_sets_are_bounded() {
    let canon = r#"(core func $new (canon waitable-set.new))
        (core instance $canon (export "new" (func $new)))"#;
    let imports = r#"(with "canon" (instance $canon))"#;
    let bomb = |n| {
        let import = r#"(import "canon" "new" (func $new (result i32)))"#;
        format!("{import} {}", repeat(n, "(drop (call $new))"))
    };
    assert!(comes_to_its_end(canon, imports, bomb(1000)).await);
    assert!(!comes_to_its_end(canon, imports, bomb(100_000)).await, "100 000 sets");
}

/// What a table does not get is told to the guest: it need not trap.
#[tokio::test]
async fn tables_do_not_grow_without_end() {
    let grow = |n: u32, wanted: &str| {
        let what = format!(
            "(if ({wanted} (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))
                (then (unreachable)))"
        );
        let first = "(table $table 0 funcref)";
        format!("{first} {}", repeat(n, &what))
    };
    assert!(comes_to_its_end("", "", grow(10, "i32.eq")).await, "10 000 elements");
    assert!(!comes_to_its_end("", "", grow(1000, "i32.eq")).await, "1 000 000 elements");
}

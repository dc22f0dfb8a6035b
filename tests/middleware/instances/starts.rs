//! Guests that do not start.

use std::time::Duration;

use millpond::Reason;
use millpond::http_wasm::{BuildError, HttpWasmPool};
use millpond_tests::{Front, PATIENCE, until};

use crate::setup::{PASS, assert_failure, module, says, wat};

async fn fails(text: impl Into<Vec<u8>>) -> BuildError {
    let builder = HttpWasmPool::builder().without_cache();
    let builder = builder.limits(|limits| limits.start_timeout = Duration::from_secs(1));
    builder.from_bytes(text).await.expect_err("this is no guest")
}

#[tokio::test]
async fn spares_that_fail_leave_nothing_behind() {
    // It sleeps for ever, except when it is tried: then it has no number.
    let guest = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "environ_sizes_get"
                (func $env (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff"
                (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_initialize")
                (drop (call $env (i32.const 1000) (i32.const 1004)))
                (if (i32.load (i32.const 1000)) (then
                    (i32.store (i32.const 16) (i32.const 1))
                    (i64.store (i32.const 24) (i64.const 1000000000000000))
                    (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))))))
            {PASS})"#
    );
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let pool = wat(guest, |builder| {
        builder.limits(|limits| {
            (limits.min_idle, limits.start_timeout) = (1, Duration::from_millis(20));
        })
    });
    let pool = pool.await;
    until("some starts have been given up", || (pool.snapshot().failed_starts >= 3).then_some(()))
        .await;
    pool.stop();
    let drained = tokio::time::timeout(PATIENCE, pool.drain()).await;
    drained.expect("the drain ends");
    drop(pool);
    until("their tasks have ended", || (alive() == 0).then_some(())).await;
}

#[tokio::test]
async fn the_error_says_what_is_wrong_in_one_line() {
    let spin = r#"(func $start (loop $for_ever (br $for_ever))) (start $start)"#;
    let exit = |code: u32| {
        format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1) {PASS}
                (func (export "_start") (call $exit (i32.const {code}))))"#
        )
    };
    for (guest, expected) in [
        ("(modul)".to_owned(), "the module is no module: "),
        ("\0asm\u{1}\0\0".to_owned(), "the module "),
        ("(component)".to_owned(), "the module is a component; "),
        (
            "(module)".to_owned(),
            "the module is no http-wasm guest: it does not export memory: memory",
        ),
        (
            format!("(module {PASS})"),
            "the module is no http-wasm guest: it does not export memory: memory",
        ),
        (
            r#"(module (import "env" "now" (func)))"#.to_owned(),
            "the module has unsupported imports: env.now",
        ),
        (
            format!(
                r#"(module (import "http_handler" "log" (func)) (memory (export "memory") 1) {PASS})"#
            ),
            "cannot compile the module: ",
        ),
        (
            format!(
                r#"(module (import "wasi_snapshot_preview1" "no_such" (func)) (memory (export "memory") 1) {PASS})"#
            ),
            "cannot compile the module: ",
        ),
        (
            module(&format!("{PASS} (func $start unreachable) (start $start)")),
            "the module does not start: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            module(&format!("{PASS} {spin}")),
            "the module does not start: it takes longer than start_timeout, 1s",
        ),
        (exit(1), "the module does not start: Exited with i32 exit status 1"),
        (
            module(&format!(r#"{PASS} (func (export "_initialize") unreachable)"#)),
            "the module does not start: wasm trap: wasm `unreachable` instruction executed",
        ),
    ] {
        let error = fails(guest).await.to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error:?}: {expected:?}");
    }
    // One that says it is done is a guest nevertheless.
    let front = Front::start(wat(exit(0), |builder| builder).await, says("hello")).await;
    assert_eq!(front.get("/").await.text(), "hello");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let error = HttpWasmPool::builder().from_file("/no/such.wasm").await;
    let error = error.expect_err("no file").to_string();
    assert!(error.starts_with("cannot read /no/such.wasm: "), "{error}");
}

/// A guest that can be tried out, but whose first instance traps when it starts.
fn first_one_traps() -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "environ_sizes_get"
                (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_get"
                (func $environ (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_initialize")
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (if (i32.eqz (i32.load (i32.const 0))) (then return))
                (drop (call $environ (i32.const 8) (i32.const 64)))
                ;; INSTANCE_ID=1 and a NUL
                (if (i32.eq (i32.load16_u (i32.const 76)) (i32.const 0x31)) (then unreachable)))
            {PASS})"#
    )
}

#[tokio::test]
async fn a_failed_start_fails_one_request() {
    let front = Front::start(wat(first_one_traps(), |builder| builder).await, says("hello")).await;
    let reply = front.get("/").await;
    assert_failure(&reply, 500, "proxy_internal_error", "instantiation failed");
    for _ in 0..3 {
        assert_eq!(front.get("/").await.text(), "hello");
    }
    let now = front.pool.snapshot();
    assert_eq!((now.starts, now.failed_starts, now.responded), (2, 1, 3));
    assert_eq!((now.retired.total(), now.unaccounted()), (1, 0));
    assert_eq!(now.retired.get(Reason::Trap), 0);
}

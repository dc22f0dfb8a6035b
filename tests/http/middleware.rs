//! `millpond serve --middleware`: http-wasm guests in front of a component.

use std::path::PathBuf;

use millpond::HttpVersion::{P2, P3};
use millpond_tests::{Process, Protocol, empty, get, until, whole};

use crate::support::{Held, PROTOCOLS};

/// A file for a test.
pub(crate) fn file(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Adds its configuration to the header `x-tag` of the request, and of the response.
const TAG: &str = r#"(module
    (import "http_handler" "get_config" (func $config (param i32 i32) (result i32)))
    (import "http_handler" "add_header_value" (func $add (param i32 i32 i32 i32 i32)))
    (import "http_handler" "enable_features" (func $enable (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x-tag")
    (func $start (drop (call $enable (i32.const 2))))
    (start $start)
    (func $tag (param $kind i32)
        (call $add (local.get $kind) (i32.const 0) (i32.const 5)
            (i32.const 64) (call $config (i32.const 64) (i32.const 1000))))
    (func (export "handle_request") (result i64) (call $tag (i32.const 0)) (i64.const 1))
    (func (export "handle_response") (param i32 i32) (call $tag (i32.const 1))))"#;

/// Answers what has no token with 401.
pub(crate) const GUARD: &str = r#"(module
    (import "http_handler" "get_header_values"
        (func $values (param i32 i32 i32 i32 i32) (result i64)))
    (import "http_handler" "set_status_code" (func $status (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "authorization")
    (func (export "handle_request") (result i64)
        (call $values (i32.const 0) (i32.const 0) (i32.const 13) (i32.const 64) (i32.const 64))
        (if (i64.eqz) (then (call $status (i32.const 401)) (return (i64.const 0))))
        (i64.const 1))
    (func (export "handle_response") (param i32 i32)))"#;

/// Puts the client's address into the header `x-source`.
const SOURCE: &str = r#"(module
    (import "http_handler" "get_source_addr" (func $source (param i32 i32) (result i32)))
    (import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x-source")
    (func (export "handle_request") (result i64)
        (call $set (i32.const 0) (i32.const 0) (i32.const 8)
            (i32.const 64) (call $source (i32.const 64) (i32.const 100)))
        (i64.const 1))
    (func (export "handle_response") (param i32 i32)))"#;

/// Sees each response, and does nothing about it: so it is kept for it.
pub(crate) const WITNESS: &str = r#"(module
    (memory (export "memory") 1)
    (global $seen (mut i32) (i32.const 0))
    (func (export "handle_request") (result i64) (i64.const 1))
    (func (export "handle_response") (param i32 i32)
        (global.set $seen (i32.add (global.get $seen) (i32.const 1)))))"#;

fn tagged(order: [&str; 2]) -> [String; 2] {
    order.map(|tag| file(&format!("{tag}.txt"), tag))
}

async fn tags(process: &Process) {
    for protocol in PROTOCOLS {
        let reply = process.connect(protocol).await.get("/request").await;
        let seen: Vec<_> =
            reply.text().lines().filter(|line| line.starts_with("x-tag: ")).collect();
        assert_eq!(seen, ["x-tag: outer", "x-tag: zinner"], "{protocol:?}");
        // The inner one has the response first.
        let tags: Vec<_> = reply.headers.get_all("x-tag").iter().collect();
        assert_eq!(tags, ["zinner", "outer"], "{protocol:?}");
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn middleware_runs_in_order_with_its_config() {
    let (module, [outer, inner]) = (file("tag.wat", TAG), tagged(["outer", "zinner"]));
    for version in [P2, P3] {
        let flags = [
            "--middleware",
            &module,
            "--middleware-config",
            &outer,
            "--middleware",
            &module,
            "--middleware-config",
            &inner,
        ];
        tags(&Process::start(version, &flags).await).await;
        let config = format!(
            "[[middleware]]\nmodule = '{module}'\nconfig = '{outer}'\n\
             [[middleware]]\nmodule = '{module}'\nconfig = '{inner}'\n"
        );
        let config = file(&format!("middleware-{version}.toml"), &config);
        tags(&Process::start(version, &["--config", &config]).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_keeps_requests_from_component() {
    let guard = file("guard.wat", GUARD);
    let flags = ["--middleware", &guard, "--admin=127.0.0.1:0"];
    let mut process = Process::start(P2, &flags).await;
    let admin = process.announced("Admin on http://").await;
    let app = |count| format!("millpond_requests_total{{outcome=\"responded\"}} {count}");
    let middleware = |count| {
        format!("millpond_requests_total{{pool=\"middleware-1\",outcome=\"responded\"}} {count}")
    };
    for protocol in PROTOCOLS {
        let reply = process.connect(protocol).await.get("/hello").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (401, ""), "{protocol:?}");
    }
    process.measures(admin, &middleware(2)).await;
    process.measures(admin, &app(0)).await;
    process.measures(admin, "millpond_starts_total{result=\"ok\"} 0").await;
    let mut client = process.connect(Protocol::Http1).await;
    let request = client.request("/hello").header("authorization", "me").body(empty()).unwrap();
    let reply = whole(client.send(request).await.unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello\n"));
    process.measures(admin, &app(1)).await;
    process.measures(admin, &middleware(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn middleware_learns_the_clients_address() {
    let source = file("source.wat", SOURCE);
    let process = Process::start(P2, &["--middleware", &source]).await;
    for protocol in PROTOCOLS {
        let mut client = process.connect(protocol).await;
        let reply = client.get("/request").await;
        let expected = format!("x-source: {}", client.local_addr());
        assert!(reply.text().lines().any(|line| line == expected), "{expected}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_pools_drain_with_a_pinned_guest() {
    let witness = file("witness.wat", WITNESS);
    for protocol in PROTOCOLS {
        let flags = ["--middleware", &witness, "--admin=127.0.0.1:0"];
        let mut process = Process::start(P2, &flags).await;
        let admin = process.announced("Admin on http://").await;
        assert_eq!(get(admin, "/readyz").await, (200, "ok\n".to_owned()));
        let held = Held::send(process.addr, protocol).await;
        for line in [
            "millpond_requests{stage=\"busy\"} 1",
            "millpond_requests{stage=\"pinned\"} 0",
            "millpond_requests{pool=\"middleware-1\",stage=\"busy\"} 0",
            "millpond_requests{pool=\"middleware-1\",stage=\"pinned\"} 1",
            "millpond_instances{pool=\"middleware-1\",status=\"pinned\"} 1",
        ] {
            process.measures(admin, line).await;
        }
        process.signal("TERM");
        until("no connection is accepted any more", || {
            std::net::TcpStream::connect(process.addr).is_err().then_some(())
        })
        .await;
        let reply = held.finish().await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "5"), "{protocol:?}");
        assert_eq!(process.exit_code().await, Some(0), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drain_timeout_stops_pinned_guests() {
    let witness = file("witness-cut.wat", WITNESS);
    let flags = ["--middleware", &witness, "--admin=127.0.0.1:0", "--drain-timeout=10ms"];
    let mut process = Process::start(P2, &flags).await;
    let admin = process.announced("Admin on http://").await;
    let _held = Held::send(process.addr, Protocol::Http1).await;
    process.measures(admin, "millpond_requests{pool=\"middleware-1\",stage=\"pinned\"} 1").await;
    process.signal("TERM");
    assert_eq!(process.exit_code().await, Some(0));
    process.logs("cut connections that outlasted the drain timeout").await;
    assert!(!process.stderr().iter().any(|line| line.contains("left instances")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_middleware_are_its_own() {
    let witness = file("witness-limit.wat", WITNESS);
    let flags = [
        "--middleware",
        &witness,
        "--max-middleware-instances=1",
        "--max-instances=2",
        "--queue=0",
        "--admin=127.0.0.1:0",
    ];
    let mut process = Process::start(P2, &flags).await;
    let admin = process.announced("Admin on http://").await;
    let held = Held::send(process.addr, Protocol::Http1).await;
    process.measures(admin, "millpond_requests{stage=\"busy\"} 1").await;
    assert_eq!(process.get("/hello").await, (503, "overloaded\n".to_owned()));
    process
        .measures(admin, "millpond_requests_total{pool=\"middleware-1\",outcome=\"overloaded\"} 1")
        .await;
    assert_eq!(held.finish().await.text(), "5");
}

/// Prints a line in each of its halves.
const PRINTER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00")
    (data (i32.const 16) "half 1\n")
    (func $print (drop
        (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "handle_request") (result i64)
        (i32.store (i32.const 4) (i32.const 7))
        (i32.store8 (i32.const 21) (i32.const 49))
        (call $print)
        (i64.const 1))
    (func (export "handle_response") (param i32 i32)
        (i32.store8 (i32.const 21) (i32.const 50))
        (call $print)))"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_names_its_instance_and_request() {
    let printer = file("printer.wat", PRINTER);
    let process = Process::start(P2, &["--middleware", &printer]).await;
    for _ in 0..2 {
        assert_eq!(process.get("/hello").await.0, 200);
    }
    for line in ["[1/1] :: half 1", "[1/1] :: half 2", "[1/2] :: half 1", "[1/2] :: half 2"] {
        process.prints(&format!("stdout {line}")).await;
    }
}

//! More instances than there is memory for.

use futures::future::join_all;
use millpond::HttpVersion::{self, P2, P3};
use millpond::http_wasm::HttpWasmPool;
use millpond::{MemoryAccount, Output, WasiHost, WasmPool};
use millpond_tests::{Process, Server, guest, until};

const MIB: usize = 1 << 20;
/// Memory that stacks and connections of two hundred instances take, which no account knows of.
const BESIDE: u64 = 128;

/// A pool of fresh instances, of which the account has room for five or so.
async fn server(account: &MemoryAccount) -> Server {
    let host = WasiHost::new().output(Output::None).memory_account(account);
    let builder = WasmPool::builder(host);
    let built = tokio::task::spawn_blocking(move || builder.from_file(guest(P2)));
    Server::start(built.await.expect("no panic").expect("a component")).await
}

#[tokio::test]
async fn starts_wait_for_memory() {
    let account = MemoryAccount::new(16 * MIB);
    let server = server(&account).await;
    let replies = join_all((0..50).map(|_| server.get("/sleep?ms=20"))).await;
    for reply in replies {
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "slept\n"));
    }
    assert!(account.refused() > 0, "there was no room for all: {account:?}");
    until("all of it is given back", || (account.used() == 0).then_some(())).await;
}

#[tokio::test]
async fn growth_ends_with_the_memory_of_all() {
    let account = MemoryAccount::new(16 * MIB);
    let server = server(&account).await;
    let hello = async || assert_eq!(server.get("/hello").await.text(), "hello\n");
    hello().await;
    assert_eq!(server.get("/alloc?mib=17").await.status, 500, "its own limit is 256 MiB");
    hello().await;
    assert_eq!(server.get("/alloc?mib=4").await.status, 200);
    // What the host holds counts as well.
    let reply = server.get("/hold?kind=fields&n=20").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let held: Vec<_> = join_all((0..4).map(|_| server.get("/hold?kind=fields&n=20"))).await;
    assert!(held.iter().all(|reply| reply.status == 200 || reply.status == 500));
    hello().await;
    until("all of it is given back", || (account.used() == 0).then_some(())).await;
}

#[tokio::test]
async fn no_memory_for_a_start_is_a_503() {
    let account = MemoryAccount::new(MIB / 2);
    let host = WasiHost::new().output(Output::None).memory_account(&account);
    let builder = WasmPool::builder(host)
        .limits(|limits| limits.queue_timeout = std::time::Duration::from_millis(100));
    let built = tokio::task::spawn_blocking(move || builder.from_file(guest(P2)));
    let server = Server::start(built.await.expect("no panic").expect("a component")).await;
    let reply = server.get("/hello").await;
    assert_eq!(reply.status, 503);
    let status = reply.headers["proxy-status"].to_str().expect("text");
    assert!(status.contains("resources exhausted"), "{status}");
    assert_eq!(account.used(), 0);
}

#[tokio::test]
async fn middleware_is_charged_too() {
    let account = MemoryAccount::new(64 * MIB);
    let module = r#"(module (memory (export "memory") 100)
        (func (export "handle_request") (result i64) (i64.const 1))
        (func (export "handle_response") (param i32 i32)))"#;
    let builder = HttpWasmPool::builder().without_cache().memory_account(&account);
    let pool = builder.from_bytes(module).await.expect("a guest");
    assert_eq!(account.used(), 0, "the one that was tried is gone");
    let no_room = HttpWasmPool::builder()
        .limits(|limits| limits.start_timeout = std::time::Duration::from_millis(100))
        .memory_account(&MemoryAccount::new(MIB));
    let error = no_room.without_cache().from_bytes(module).await.expect_err("no room");
    assert!(error.to_string().contains("no room"), "{error}");
    drop(pool);
}

#[tokio::test]
async fn an_operator_limits_the_memory_of_all() {
    let args = ["--max-total-memory=16MiB", "--admin=127.0.0.1:0", "--log=error"];
    let mut process = Process::start(P3, &args).await;
    let admin = process.announced("Admin on http://").await;
    assert_eq!(process.get("/hello").await.1, "hello\n");
    assert_eq!(process.get("/alloc?mib=17").await.0, 500);
    assert_eq!(process.get("/hello").await.1, "hello\n");
    process.measures(admin, "millpond_guest_memory_limit_bytes 16777216").await;
    let (_, metrics) = millpond_tests::get(admin, "/metrics").await;
    assert!(!metrics.contains("\nmillpond_guest_memory_refused_total 0\n"), "{metrics}");
}

/// Two hundred guests at a time make the host hold what they can, and stay. All of it is within what the operator allows.
async fn many_hold_what_all_may(version: HttpVersion, kind: &str, n: u32) {
    let args = ["--max-total-memory=256MiB", "--max-memory=16MiB", "--queue-timeout=1s"];
    let more = ["--max-instance-reuse-count=1", "--admin=127.0.0.1:0", "--log=error"];
    let mut process = Process::start(version, &[&args[..], &more].concat()).await;
    let admin = process.announced("Admin on http://").await;
    assert_eq!(process.get("/hello").await.1, "hello\n");
    let before = process.resident_mib();
    let get = |_| {
        let (addr, path) = (process.addr, format!("/hold?kind={kind}&n={n}&ms=600000"));
        tokio::spawn(async move { millpond_tests::get(addr, &path).await.0 })
    };
    let all: Vec<_> = (0..200).map(get).collect();
    // Each holds, or has an answer: it was cut off, or there was no room for it in time.
    let holding = || process.stdout().iter().filter(|line| line.ends_with("holds")).count();
    until("all guests hold or are answered", || {
        let answered = all.iter().filter(|task| task.is_finished()).count();
        (answered + holding() >= 200).then_some(())
    })
    .await;
    let (grown, held) = (process.resident_mib().saturating_sub(before), holding());
    println!("{version:?} {kind}: {held} guests hold, {grown} MiB");
    assert!(held > 0, "there is room for some");
    assert!(grown <= 256 + BESIDE, "{kind}: {held} guests hold, {grown} MiB");
    for task in all {
        task.abort();
        if let Ok(status) = task.await {
            assert!([500, 503].contains(&status), "{kind}: {status}");
        }
    }
    process.comes_to_rest(admin).await;
    assert_eq!(process.get("/hello").await.1, "hello\n");
}

#[tokio::test]
async fn many_of_p2_hold_what_all_may() {
    for (kind, n) in [("fields", 120), ("small-fields", 30), ("trailers", 120), ("bodies", 60)] {
        many_hold_what_all_may(P2, kind, n).await;
    }
}

#[tokio::test]
async fn many_of_p3_hold_what_all_may() {
    for (kind, n) in [("fields", 120), ("small-fields", 30), ("streams", 600), ("results", 100)] {
        many_hold_what_all_may(P3, kind, n).await;
    }
}

//! Clients that have middleware hold bodies without end: what all of them together may hold is bounded, and given back.

use std::net::SocketAddr;

use millpond::HttpVersion::P2;
use millpond_tests::{Process, Protocol, full, get, until, whole};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::file;

const MIB: usize = 1 << 20;

/// What may be held.
const BUDGET: usize = 8 * MIB;

/// Clients at a time, each with as much as this. All of it would be 160 MiB.
const CLIENTS: usize = 40;
const EACH: usize = 4 * MIB;

/// What the process may grow by beside what it holds: for its connections, instances and tasks.
const BESIDE: usize = 64 * MIB;

/// Has the host hold the whole body of a request with the header `x-buffer`, and sees it to its end.
const HOLDER: &str = r#"(module
    (import "http_handler" "enable_features" (func $enable (param i32) (result i32)))
    (import "http_handler" "get_header_values"
        (func $values (param i32 i32 i32 i32 i32) (result i64)))
    (import "http_handler" "read_body" (func $read (param i32 i32 i32) (result i64)))
    (memory (export "memory") 2)
    (data (i32.const 0) "x-buffer")
    (func (export "handle_request") (result i64)
        (if (i64.eqz (call $values (i32.const 0) (i32.const 0) (i32.const 8)
                (i32.const 64) (i32.const 64)))
            (then (return (i64.const 1))))
        (drop (call $enable (i32.const 1)))
        (loop $more (br_if $more (i64.eqz (i64.shr_u
            (call $read (i32.const 0) (i32.const 4096) (i32.const 65536)) (i64.const 32)))))
        (i64.const 1))
    (func (export "handle_response") (param i32 i32)))"#;

/// Sends all of a body but its last byte, or what of it is taken, and keeps the connection.
async fn hold(addr: SocketAddr, len: usize) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head =
        format!("POST /drain HTTP/1.1\r\nhost: a\r\nx-buffer: 1\r\ncontent-length: {len}\r\n\r\n");
    // It may be refused by then.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&vec![b'h'; len - 1]).await;
    stream
}

/// A request that middleware holds, or not.
async fn post(process: &Process, held: bool, len: usize) -> (u16, String, bool) {
    let mut client = process.connect(Protocol::H2c).await;
    let mut request = client.request("/drain").method("POST");
    if held {
        request = request.header("x-buffer", "1");
    }
    let response = client.send(request.body(full(vec![b'i'; len])).unwrap()).await.unwrap();
    let reply = whole(response).await;
    let again = reply.headers.contains_key("retry-after");
    (reply.status.as_u16(), reply.text().to_owned(), again)
}

async fn measured(admin: SocketAddr, name: &str) -> usize {
    let (_, text) = get(admin, "/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

async fn until_held(admin: SocketAddr, wanted: impl Fn(usize) -> bool) {
    let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
    loop {
        let held = measured(admin, "millpond_middleware_buffer_bytes").await;
        if wanted(held) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{held} bytes are held");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn resident(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

async fn start() -> (Process, SocketAddr) {
    let holder = file("holder.wat", HOLDER);
    let limit = format!("--max-middleware-buffer={BUDGET}");
    let flags = ["--middleware", &holder, &limit, "--admin=127.0.0.1:0", "--max-instances=64"];
    let mut process = Process::start(P2, &flags).await;
    let admin = process.announced("Admin on http://").await;
    (process, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_bounded_and_given_back() {
    let (process, admin) = start().await;
    assert_eq!(measured(admin, "millpond_middleware_buffer_limit_bytes").await, BUDGET);
    // Those who have a body held, one after the other, until less than the next one needs is left.
    let mut holders = Vec::new();
    for count in 1..=7 {
        holders.push(hold(process.addr, MIB).await);
        until_held(admin, |held| held > count * MIB - MIB / 8).await;
    }
    let (status, text, again) = post(&process, true, 2 * MIB).await;
    assert_eq!((status, &text[..], again), (503, "resources exhausted\n", true), "full now");
    let (status, _, again) = post(&process, true, BUDGET + 1).await;
    assert_eq!((status, again), (413, false), "never fits");
    // What is not held has all the room it wants.
    let answer = post(&process, false, 2 * BUDGET).await;
    assert_eq!((answer.0, answer.1), (200, (2 * BUDGET).to_string()));
    assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()));
    assert!(measured(admin, "millpond_middleware_buffer_refused_total").await > 0);

    drop(holders);
    until_held(admin, |held| held == 0).await;
    let answer = post(&process, true, 2 * MIB).await;
    assert_eq!((answer.0, answer.1), (200, (2 * MIB).to_string()));
    until_held(admin, |held| held == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_takes_no_more_than_there_is() {
    let (process, admin) = start().await;
    assert_eq!(post(&process, true, 1000).await.0, 200);
    let before = resident(&process);
    let addr = process.addr;
    let crowd: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(hold(addr, EACH))).collect();
    let mut peak = 0;
    let mut innocents = 0;
    until("all have sent what is taken", || {
        crowd.iter().all(tokio::task::JoinHandle::is_finished).then_some(())
    })
    .await;
    while innocents < 20 {
        peak = peak.max(resident(&process));
        let held = measured(admin, "millpond_middleware_buffer_bytes").await;
        assert!(held <= BUDGET, "{held} bytes are held");
        assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()));
        let answer = post(&process, false, 100_000).await;
        assert_eq!((answer.0, &answer.1[..]), (200, "100000"));
        innocents += 1;
    }
    let grown = peak.saturating_sub(before);
    assert!(grown < BUDGET + BESIDE, "grew by {} MiB", grown / MIB);
    for client in crowd {
        drop(client.await);
    }
    until_held(admin, |held| held == 0).await;
}

//! Guests that make the host hold as much as it will, and those that call it with as much as they can.

use std::net::SocketAddr;
use std::path::PathBuf;

use millpond::HttpVersion::{self, P2, P3};
use millpond_tests::Process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const MIB: u64 = 1 << 20;
/// What the host may hold for an instance besides its memory.
const SHARE: u64 = 16 * MIB;
/// Memory of the guests here, with what they keep of lists that they pass.
const GUEST: u64 = 16 * MIB;
/// What the process has for other reasons: code that is run for the first time, buffers of connections.
const BESIDE: u64 = 8 * MIB;

struct Server {
    process: Process,
    /// Where connections are taken and nothing is answered.
    hole: TcpListener,
    /// Where each request gets an answer, and its connection is closed.
    source: SocketAddr,
}

/// Answers as long as there is something to answer.
async fn source() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\nconnection: close\r\n\r\n";
            // The guest may be gone.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(format!("{head}{}", "x".repeat(4000)).as_bytes()).await;
        }
    });
    addr
}

impl Server {
    async fn start(version: HttpVersion) -> Self {
        // An instance for each request, so that nothing is held when it has been answered.
        let args = ["--max-memory=16MiB", "--max-instance-reuse-count=1", "--log=error"];
        let process = Process::start(version, &args).await;
        let hole = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = Self { process, hole, source: source().await };
        for _ in 0..20 {
            server.innocent().await;
        }
        server
    }

    async fn innocent(&self) {
        assert_eq!(self.process.get("/hello").await, (200, "hello\n".to_owned()));
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(self.file("status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux says");
        let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        kib.parse::<u64>().expect("a number") << 10
    }

    fn file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.process.id()).into()
    }

    /// Lets one guest hold what it can, and returns how large the process was at most.
    async fn hold(&self, kind: &str, n: u32) -> (u64, u16) {
        // The highest so far is what it is now.
        std::fs::write(self.file("clear_refs"), "5").expect("a process of ours");
        let hole = self.hole.local_addr().expect("it is bound");
        let to = if kind == "responses" { self.source } else { hole };
        let (status, text) = self.process.get(&format!("/hold?kind={kind}&n={n}&to={to}")).await;
        assert!(status == 500 || text == format!("held {n}\n"), "{kind}: {status} {text}");
        self.innocent().await;
        (self.status("VmHWM"), status)
    }
}

/// What a guest makes, and of which there is too much.
async fn nothing_holds_more_than_its_share(version: HttpVersion, bombs: &[(&str, u32)]) {
    let server = Server::start(version).await;
    if version == P3 {
        assert_eq!(server.hold("responses", 15).await.1, 200, "that many are fine");
    }
    let before = server.status("VmRSS");
    for (kind, n) in bombs {
        let (most, status) = server.hold(kind, *n).await;
        let grown = most.saturating_sub(before);
        println!("{version:?} {kind}: {} MiB, {status}", grown / MIB);
        assert!(grown <= SHARE + GUEST + BESIDE, "{kind}: {} MiB", grown / MIB);
        // What was deleted is given back, and what is shared is one: of these there is never too much.
        let is_little = ["deleted-fields", "shared-fields"].contains(kind);
        let may = if is_little { 200 } else { 500 };
        assert_eq!(status, may, "{n} {kind}");
    }
    let after = server.status("VmRSS");
    println!("{version:?}: {} MiB before, {} MiB after", before / MIB, after / MIB);
    assert!(after <= before + SHARE + BESIDE, "{} MiB and then {} MiB", before / MIB, after / MIB);
}

#[tokio::test]
async fn bombs_of_p2() {
    let bombs = [
        ("bodies", 1500),
        ("requests", 1000),
        ("fields", 1000),
        ("small-fields", 1000),
        ("deleted-fields", 1000),
        ("empty-fields", 100_000),
        ("copied-fields", 1000),
        ("shared-fields", 1),
        ("cloned-fields", 1),
        ("pollables", 100_000),
        ("options", 100_000),
        ("outputs", 100_000),
        ("trailers", 1000),
        ("deleted-trailers", 1000),
        ("unfinished", 200),
    ];
    nothing_holds_more_than_its_share(P2, &bombs).await;
}

#[tokio::test]
async fn bombs_of_p3() {
    let bombs = [
        ("requests", 1000),
        ("fields", 1000),
        ("small-fields", 1000),
        ("deleted-fields", 1000),
        ("empty-fields", 100_000),
        ("shared-fields", 1),
        ("cloned-fields", 1),
        ("options", 100_000),
        ("streams", 100_000),
        ("futures", 100_000),
        ("results", 1000),
        ("responses", 60),
        ("subtasks", 100_000),
        ("outputs", 100_000),
        ("unfinished", 1000),
    ];
    nothing_holds_more_than_its_share(P3, &bombs).await;
}

/// The most that a call may pass goes through, a little more does not: it is what a tick has time for.
async fn calls_are_bounded(version: HttpVersion, calls: &[(&str, u32, u32)]) {
    let server = Server::start(version).await;
    for (kind, good, bad) in calls {
        let call = async |n: &u32| server.process.get(&format!("/call?kind={kind}&n={n}")).await;
        let (status, text) = call(good).await;
        assert_eq!(status, 200, "{kind} of {good}: {text}");
        let (status, text) = call(bad).await;
        // Of random bytes, 0.3 allows to give fewer than were asked for.
        let random = ["random", "insecure"].contains(kind);
        let less = version == P3 && random && text == "called with 65536\n";
        assert!(status == 500 || less, "{kind} of {bad}: {status} {text}");
        server.innocent().await;
    }
}

#[tokio::test]
async fn calls_of_p2_are_bounded() {
    let calls = [
        ("random", 65_536, 65_537),
        ("insecure", 65_536, 65_537),
        ("poll", 2000, 20_000),
        ("poll-all", 1000, 20_000),
        ("value", 60_000, 200_000),
        ("values", 1000, 100_000),
        ("entries", 1000, 100_000),
        ("name", 100_000, 200_000),
        ("zeroes", 65_536, 1_000_000),
        ("print", 65_536, 200_000),
    ];
    calls_are_bounded(P2, &calls).await;
}

#[tokio::test]
async fn calls_of_p3_are_bounded() {
    let calls = [
        ("random", 65_536, 65_537),
        ("insecure", 65_536, 65_537),
        ("value", 60_000, 200_000),
        ("values", 1000, 100_000),
        ("entries", 1000, 100_000),
        ("name", 100_000, 200_000),
    ];
    calls_are_bounded(P3, &calls).await;
}

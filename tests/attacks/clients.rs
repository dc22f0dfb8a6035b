//! HTTP/1.1 clients that are slow, leave, or send something else.

mod h2;
mod h2_conformance;
mod http1_conformance;
mod ingress;
mod smuggling;

use std::net::SocketAddr;
use std::time::Duration;

use millpond::HttpVersion::P2;
use millpond_tests::Process;
use millpond_tests::frames::Innocents;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connections at once.
const MANY: usize = 300;

/// Fewer places for connections than that.
const PLACES: &str = "--max-concurrent-connections=200";

/// Clients that leave, of each kind.
const LEAVE: usize = 200;

struct Attack {
    process: Process,
    admin: SocketAddr,
    innocents: Innocents,
}

impl Attack {
    async fn start(flags: &[&str]) -> Self {
        let mut process = Process::start(P2, &[&["--admin=127.0.0.1:0"], flags].concat()).await;
        let admin = process.announced("Admin on http://").await;
        process.get("/hello").await;
        let innocents = Innocents::start(process.addr);
        Self { process, admin, innocents }
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.process.addr).await.expect("it listens");
        stream.write_all(bytes).await.expect("it is taken");
        stream
    }

    async fn send_many(&self, bytes: &[u8]) -> Vec<TcpStream> {
        let mut streams = Vec::new();
        for _ in 0..MANY {
            streams.push(self.send(bytes).await);
        }
        streams
    }

    /// The attackers are gone: the innocents were served all along, and nothing is left.
    async fn ends(self) {
        assert_eq!(self.process.get("/hello").await, (200, "hello\n".to_owned()));
        assert!(self.innocents.stop().await > 0);
        self.process.comes_to_rest(self.admin).await;
        let lost = self.process.stderr().into_iter().find(|line| line.contains("panic"));
        assert_eq!(lost, None);
    }
}

/// All that comes until the connection closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(millpond_tests::PATIENCE, stream.read_to_end(&mut bytes)).await;
    drop(read.expect("it closes"));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_harm_no_others() {
    // They take all places, and innocents are served once their time for a head is over.
    let attack = Attack::start(&[PLACES]).await;
    let mut streams = attack.send_many(b"GET /hello HTTP/1.1\r\nhost: a\r\nx: ").await;
    for stream in &mut streams {
        stream.write_all(b"a").await.unwrap();
    }
    attack.process.get("/hello").await;
    drop(streams);
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_harm_no_others() {
    let flags = ["--max-instances=1000", "--request-body-timeout=2s", PLACES];
    let attack = Attack::start(&flags).await;
    let head = b"POST /drain HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\na";
    let streams = attack.send_many(head).await;
    let cut = format!("millpond_requests_cut_total{{reason=\"request_body_timeout\"}} {MANY}");
    attack.process.measures(attack.admin, &cut).await;
    attack.process.get("/hello").await;
    drop(streams);
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_takes_too_long_is_cut() {
    let attack = Attack::start(&["--request-body-timeout=300ms"]).await;
    let head = b"POST /drain HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\na";
    let mut stream = attack.send(head).await;
    let response = rest(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{response}");
    let cut = "millpond_requests_cut_total{reason=\"request_body_timeout\"} 1";
    attack.process.measures(attack.admin, cut).await;

    // The head is out: the response breaks off.
    let head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";
    let mut stream = attack.send(head).await;
    let response = rest(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(!response.ends_with("0\r\n\r\n"), "it does not look whole: {response}");
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zeros_without_a_chunk_end_a_connection() {
    // hyper reads any number of them.
    let attack = Attack::start(&[]).await;
    let head = b"POST /drain HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = attack.send(head).await;
    let mut ended = false;
    for _ in 0..1000 {
        ended = stream.write_all(&[b'0'; 64 * 1024]).await.is_err();
        if ended {
            break;
        }
    }
    assert!(ended, "64 MB of zeros were read");
    let flood = "millpond_connections_ended_total{reason=\"flood\"} 1";
    attack.process.measures(attack.admin, flood).await;
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_harm_no_others() {
    let attack = Attack::start(&["--max-instances=1000"]).await;
    let mut streams = attack.send_many(b"GET /fill?n=1000000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for stream in &mut streams {
        let mut byte = [0];
        timeout(millpond_tests::PATIENCE, stream.read_exact(&mut byte)).await.unwrap().unwrap();
    }
    drop(streams);
    attack.ends().await;
}

/// Sends this and leaves, again and again; `seen` of a connection may be waited for before.
async fn leave(flags: &[&str], request: &[u8], first_byte: bool) {
    // Nothing but the client's departure ends what it has begun.
    let attack = Attack::start(&[&["--request-timeout=10m"], flags].concat()).await;
    for n in 0..LEAVE {
        let mut stream = attack.send(request).await;
        if first_byte {
            let mut byte = [0];
            timeout(millpond_tests::PATIENCE, stream.read_exact(&mut byte)).await.unwrap().unwrap();
        } else if n % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(stream);
    }
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_while_they_run() {
    leave(&[], b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_while_they_wait() {
    // The innocents wait as well, and get their turn.
    leave(
        &["--max-instances=1", "--queue-timeout=25s"],
        b"GET /sleep?ms=20 HTTP/1.1\r\nhost: a\r\n\r\n",
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_while_they_read() {
    leave(&[], b"GET /drip?n=1000000&ms=1 HTTP/1.1\r\nhost: a\r\n\r\n", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    const PIPELINED: usize = 1000;
    let attack = Attack::start(&[]).await;
    let mut stream = attack.send(b"").await;
    let (mut read, mut write) = stream.split();
    let send = async {
        for n in 0..PIPELINED {
            let last = if n + 1 == PIPELINED { "connection: close\r\n" } else { "" };
            let head =
                format!("GET /status?code={} HTTP/1.1\r\nhost: a\r\n{last}\r\n", 200 + n % 100);
            write.write_all(head.as_bytes()).await.unwrap();
        }
    };
    let mut response = String::new();
    let receive = timeout(millpond_tests::PATIENCE * 4, read.read_to_string(&mut response));
    let ((), received) = tokio::join!(send, receive);
    received.expect("all come").expect("text");
    let statuses: Vec<usize> = response
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|response| response[..3].parse().unwrap())
        .collect();
    let expected: Vec<usize> = (0..PIPELINED).map(|n| 200 + n % 100).collect();
    assert_eq!(statuses, expected);
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_connections_count_as_gone() {
    let attack = Attack::start(&[]).await;
    for _ in 0..50 {
        let mut stream = attack.send(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_turned_away() {
    let attack = Attack::start(&[]).await;
    // A TLS client's first bytes, garbage of many kinds, and almost HTTP.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    let mut seed = 1_u64;
    let mut garbage = || -> Vec<u8> {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        // Never the beginning of a method or of HTTP/2's preface.
        std::iter::once(0).chain(std::iter::repeat_with(&mut next).take(1000)).collect()
    };
    let mut inputs = vec![hello, b"GET / HTTP/9.9\r\n\r\n".to_vec(), b"\0\r\n\r\n".to_vec()];
    inputs.extend(std::iter::repeat_with(&mut garbage).take(100));
    for input in inputs {
        let mut stream = attack.send(&input).await;
        let response = rest(&mut stream).await;
        let turned_away = response.is_empty() || response.starts_with("HTTP/1.1 400 ");
        assert!(turned_away, "{response:?} to {input:?}");
    }
    attack.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_of_connections_come_back() {
    let attack = Attack::start(&["--max-concurrent-connections=20"]).await;
    for _ in 0..10 {
        let streams = futures::future::join_all((0..15).map(|_| attack.send(b"GET /n"))).await;
        drop(streams);
    }
    attack.ends().await;
}

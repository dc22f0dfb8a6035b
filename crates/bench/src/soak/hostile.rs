//! Clients of ill will, and requests for guests that are. Each attack is one connection after another, with a pause
//! between them, and ends by itself after some seconds: what is measured is what it leaves behind, and what others
//! notice, not how much of the machine it can take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::innocents::Seen;

/// Over this time the attackers begin one after another: equal pauses would keep those in step that began together.
const BEGINNING: Duration = Duration::from_secs(5);

/// No attack takes longer.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum Attack {
    /// A request, and its answer is read to the end of the connection.
    Ask(&'static str),
    /// The same, of a guest that breaks in the middle of the body: it must not look whole.
    Cut(&'static str),
    /// A request, and the client is gone.
    Leave(&'static str),
    /// Reads a little now and then.
    SlowReader(&'static str),
    /// The head comes byte by byte.
    SlowHead,
    /// The body comes byte by byte.
    SlowBody,
    /// A body that is large, and in small chunks.
    Flood,
    Malformed,
    /// HTTP/2 streams that are reset at once.
    Resets,
    /// HTTP/2 frames that ask for an answer each.
    Pings,
    /// Connections that say nothing.
    Silent,
    /// Many requests at once on one connection.
    Pipelined,
}

/// Each with the pause after it, in milliseconds. One attacker of each takes a quarter of one core: if they took all cores,
/// innocents would show that they have fewer, and nothing else.
const ATTACKS: [(Attack, u64); 24] = [
    (Attack::Ask("/trap"), 300),
    (Attack::Cut("/trap-mid-body"), 300),
    (Attack::Cut("/abort-body"), 600),
    (Attack::Cut("/bytes?n=1000&lie=2000"), 600),
    (Attack::Ask("/spin?ms=20"), 1500),
    // Until its timeout.
    (Attack::Ask("/spin"), 30_000),
    (Attack::Ask("/never"), 1500),
    (Attack::Ask("/no-response"), 300),
    (Attack::Ask("/exit?code=1"), 600),
    (Attack::Ask("/error?code=internal-error"), 600),
    (Attack::Ask("/alloc?mib=40"), 3000),
    (Attack::Ask("/alloc?mib=100"), 3000),
    (Attack::Ask("/print?n=1000&out=a-line-of-a-guest&err=another"), 1500),
    (Attack::Ask("/bytes?n=10000000"), 6000),
    (Attack::Leave("/sleep?ms=300"), 150),
    (Attack::Leave("/bytes?n=10000000"), 600),
    (Attack::SlowReader("/bytes?n=10000000"), 3000),
    (Attack::SlowHead, 300),
    (Attack::SlowBody, 300),
    (Attack::Flood, 3000),
    (Attack::Malformed, 150),
    (Attack::Resets, 1500),
    (Attack::Pings, 1500),
    (Attack::Silent, 300),
];

/// Tries to have as many instances at once as there may be, each of which touches more memory than is kept.
pub(super) async fn fill(addrs: [SocketAddr; 2], instances: usize, seen: &Arc<Seen>) {
    for _ in 0..10 {
        let mut hostile = JoinSet::new();
        for addr in addrs.into_iter().flat_map(|addr| std::iter::repeat_n(addr, instances)) {
            let seen = Arc::clone(seen);
            hostile.spawn(async move {
                let _ = timeout(LONGEST, Attack::Ask("/alloc?mib=4").run(addr, &seen)).await;
            });
        }
        hostile.join_all().await;
    }
}

/// They end when this is dropped.
pub(super) fn start(addrs: [SocketAddr; 2], attackers: usize, seen: &Arc<Seen>) -> JoinSet<()> {
    let mut hostile = JoinSet::new();
    let pipelined = (Attack::Pipelined, 3000);
    let each = BEGINNING
        / u32::try_from(addrs.len() * (ATTACKS.len() + 1) * attackers.max(1)).unwrap_or(u32::MAX);
    let mut begin = Duration::ZERO;
    for addr in addrs {
        for (attack, pause) in ATTACKS.into_iter().chain([pipelined]) {
            for _ in 0..attackers {
                begin += each;
                let seen = Arc::clone(seen);
                hostile.spawn(async move {
                    sleep(begin).await;
                    loop {
                        // What the server says to this is its own business.
                        let _ = timeout(LONGEST, attack.run(addr, &seen)).await;
                        sleep(Duration::from_millis(pause)).await;
                    }
                });
            }
        }
    }
    hostile
}

impl Attack {
    async fn run(self, addr: SocketAddr, seen: &Seen) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(addr).await?;
        let count = |requests| {
            seen.hostile.fetch_add(requests, Relaxed);
        };
        count(1);
        match self {
            Self::Ask(path) => {
                stream.write_all(get(path).as_bytes()).await?;
                read_to_end(&mut stream).await?;
            }
            Self::Cut(path) => {
                stream.write_all(get(path).as_bytes()).await?;
                let mut answer = Vec::new();
                // Reset is as good as cut.
                let end = stream.read_to_end(&mut answer).await;
                if end.is_ok() && answer.starts_with(b"HTTP/1.1 200") && looks_whole(&answer) {
                    seen.dishonest.fetch_add(1, Relaxed);
                }
            }
            Self::Leave(path) => {
                stream.write_all(get(path).as_bytes()).await?;
                sleep(Duration::from_millis(20)).await;
            }
            Self::SlowReader(path) => {
                stream.write_all(get(path).as_bytes()).await?;
                let mut buf = [0; 2048];
                for _ in 0..50 {
                    if stream.read(&mut buf).await? == 0 {
                        break;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Self::SlowHead => trickle(&mut stream, get("/hello").as_bytes()).await?,
            Self::SlowBody => {
                stream.write_all(post("/drain", "content-length: 100000").as_bytes()).await?;
                trickle(&mut stream, &[b'b'; 30]).await?;
            }
            Self::Flood => {
                stream.write_all(post("/drain", "transfer-encoding: chunked").as_bytes()).await?;
                let chunks = b"1\r\nb\r\n".repeat(1000);
                for _ in 0..20 {
                    stream.write_all(&chunks).await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
                timeout(Duration::from_secs(2), read_to_end(&mut stream)).await??;
            }
            Self::Malformed => {
                let all: [&[u8]; 6] = [
                    b"GET /\r\n\r\n",
                    b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                    b"POST /drain HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
                    b"POST /drain HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZ\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                ];
                let which = seen.hostile.load(Relaxed) as usize % all.len();
                stream.write_all(all[which]).await?;
                stream.shutdown().await?;
                read_to_end(&mut stream).await?;
            }
            Self::Resets => {
                let mut frames = preface();
                for stream in (1..200_u32).step_by(2) {
                    frames.extend(frame(1, 5, stream, b"\x82\x86\x84\x41\x01a"));
                    frames.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
                }
                count(99);
                stream.write_all(&frames).await?;
                sleep(Duration::from_millis(500)).await;
            }
            Self::Pings => {
                let mut frames = preface();
                for _ in 0..500 {
                    frames.extend(frame(6, 0, 0, b"pingpong"));
                    frames.extend(frame(4, 0, 0, b""));
                }
                stream.write_all(&frames).await?;
                sleep(Duration::from_millis(500)).await;
            }
            Self::Silent => sleep(Duration::from_secs(5)).await,
            Self::Pipelined => {
                let request = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
                count(99);
                stream.write_all(request.repeat(99).as_bytes()).await?;
                stream.write_all(get("/hello").as_bytes()).await?;
                read_to_end(&mut stream).await?;
            }
        }
        Ok(())
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

fn post(path: &str, header: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n\r\n")
}

/// Whether an answer on a connection that has closed is what a client takes for one that is all there.
fn looks_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with("0\r\n\r\n"),
    }
}

async fn read_to_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buf = vec![0; 64 * 1024];
    while stream.read(&mut buf).await? != 0 {}
    Ok(())
}

async fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        sleep(Duration::from_millis(150)).await;
    }
    Ok(())
}

fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

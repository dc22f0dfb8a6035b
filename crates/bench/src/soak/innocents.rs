//! Clients of good will: at a fixed rate, over connections that they keep, HTTP/1.1 and HTTP/2. A latency counts from
//! when its request was due.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Fallible;

/// Connections to each server; one in three speaks HTTP/2.
const CONNECTIONS: u32 = 12;
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What they have seen so far.
pub(super) struct Seen {
    pub(super) answered: AtomicU64,
    /// 503: there was no place.
    pub(super) refused: AtomicU64,
    pub(super) wrong: AtomicU64,
    /// Requests of the hostile.
    pub(super) hostile: AtomicU64,
    /// Bodies that were cut and look whole.
    pub(super) dishonest: AtomicU64,
    /// Latencies since they were last taken, in microseconds.
    latencies: Mutex<Histogram<u64>>,
    first_wrong: Mutex<Option<String>>,
}

impl Default for Seen {
    fn default() -> Self {
        let count = AtomicU64::default;
        Self {
            answered: count(),
            refused: count(),
            wrong: count(),
            hostile: count(),
            dishonest: count(),
            latencies: Mutex::new(histogram()),
            first_wrong: Mutex::default(),
        }
    }
}

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("good bounds")
}

impl Seen {
    pub(super) fn take_latencies(&self) -> Histogram<u64> {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut latencies, histogram())
    }

    /// All requests.
    pub(super) fn requests(&self) -> u64 {
        let counts = [&self.answered, &self.refused, &self.wrong, &self.hostile];
        counts.map(|count| count.load(Relaxed)).iter().sum()
    }

    pub(super) fn first_wrong(&self) -> Option<String> {
        self.first_wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answered(&self, latency: Duration) {
        self.answered.fetch_add(1, Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.saturating_record(micros);
    }

    fn wrong(&self, what: String) {
        self.wrong.fetch_add(1, Relaxed);
        let mut first = self.first_wrong.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(what);
    }
}

/// They go on until the runtime ends.
pub(super) fn start(addrs: [SocketAddr; 2], rate: f64, seen: &Arc<Seen>) {
    let pause = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    for addr in addrs {
        for number in 0..CONNECTIONS {
            let innocent = Innocent { addr, http2: number % 3 == 2, pause, seen: Arc::clone(seen) };
            // Not all at once.
            tokio::spawn(innocent.run(pause * number / CONNECTIONS));
        }
    }
}

struct Innocent {
    addr: SocketAddr,
    http2: bool,
    pause: Duration,
    seen: Arc<Seen>,
}

impl Innocent {
    async fn run(self, begin: Duration) {
        sleep(begin).await;
        let mut due = Instant::now();
        let mut connection = None;
        for number in 0_u32.. {
            due += self.pause;
            sleep_until(due).await;
            let asked = timeout(PATIENCE, self.ask(&mut connection, number)).await;
            match asked.unwrap_or_else(|_| Err("no answer in good time".into())) {
                Ok(true) => self.seen.answered(due.elapsed()),
                Ok(false) => {
                    self.seen.refused.fetch_add(1, Relaxed);
                }
                Err(error) => {
                    connection = None;
                    self.seen.wrong(format!("request {number} to {}: {error}", self.addr));
                }
            }
        }
    }

    /// False: there was no place.
    async fn ask(&self, connection: &mut Option<Sender>, number: u32) -> Fallible<bool> {
        let sender = match connection {
            Some(sender) => sender,
            None => connection.insert(Sender::connect(self.addr, self.http2).await?),
        };
        let pattern = |len: u32| (0..len).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
        let (path, body, expected) = match number % 4 {
            0 | 1 => ("/hello", Vec::new(), b"hello\n".to_vec()),
            2 => ("/echo", pattern(5000 + number % 100), pattern(5000 + number % 100)),
            _ => ("/bytes?n=20000", Vec::new(), pattern(20_000)),
        };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let uri = match self.http2 {
            true => format!("http://{}{path}", self.addr),
            false => path.to_owned(),
        };
        let request = Request::builder().method(method).uri(uri);
        let request =
            if self.http2 { request } else { request.header("host", self.addr.to_string()) };
        let response = sender.send(request.body(Full::new(body.into()))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        match status.as_u16() {
            200 if body == expected => Ok(true),
            503 => Ok(false),
            200 => Err(format!("{path}: {} bytes that are not the right ones", body.len()).into()),
            _ => Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(addr: SocketAddr, http2: bool) -> Fallible<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Self::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<hyper::Response<hyper::body::Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

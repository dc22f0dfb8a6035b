//! Requests at a fixed rate, whatever the server does about them: an open loop.
//!
//! A thread says when a request is due; connections take what is due in turn. A latency counts from
//! the moment its request was due and not from when it could be sent: a server that is slow for a
//! moment does not get fewer requests in that moment, and its clients' waiting is not forgotten.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use futures::stream::{self, StreamExt as _};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::LocalSet;

use crate::Fallible;

/// How long a late request may be sent, and answered, after the end.
const GRACE: Duration = Duration::from_secs(3);
const CONNECT: usize = 64;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    addr: SocketAddr,
    #[arg(long)]
    path: String,
    /// Requests per second
    #[arg(long)]
    rate: f64,
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// A path for one request among many; its latencies count apart
    #[arg(long)]
    rare: Option<String>,
    /// Which of them: each Nth
    #[arg(long, default_value_t = 100)]
    every: u64,
    /// Connections that are opened, used once, and held
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Send to so many paths in turn: `{}` in the path is the number
    #[arg(long, default_value_t = 1)]
    fan: u64,
    /// Say `ready` when the connections are open, and begin after a line on stdin
    #[arg(long)]
    wait: bool,
    /// Send nothing that is still unsent at the end
    #[arg(long)]
    cut: bool,
}

/// A request that is to be sent.
struct Due {
    at: Instant,
    rare: bool,
    number: u64,
}

pub(crate) fn run(options: &Options) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(LocalSet::new().run_until(drive(options)))?;
    println!("{result}");
    Ok(())
}

async fn drive(options: &Options) -> Fallible<Value> {
    let idle = connect(options, options.idle).await?;
    let connections = connect(options, options.connections).await?;
    if options.wait {
        println!("ready");
        // Blocks the only thread: nothing is to happen meanwhile.
        std::io::stdin().read_line(&mut String::new())?;
    }
    let (sender, due) = mpsc::unbounded_channel();
    let begin = Instant::now() + Duration::from_millis(10);
    let end = begin + Duration::from_secs_f64(options.seconds);
    let pacer = pace(options, begin, sender);
    let (due, seen) = (Rc::new(Mutex::new(due)), Rc::new(RefCell::new(Seen::new())));
    let clients = connections.into_iter().map(|connection| {
        let client = Client {
            connection,
            addr: options.addr,
            paths: (0..options.fan).map(|n| options.path.replace("{}", &n.to_string())).collect(),
            rare: options.rare.clone().unwrap_or_default(),
            end,
            cut: options.cut,
        };
        tokio::task::spawn_local(client.run(Rc::clone(&due), Rc::clone(&seen)))
    });
    let clients: Vec<_> = clients.collect();
    let all = futures::future::join_all(clients);
    let in_time = tokio::time::timeout_at((end + GRACE).into(), all).await.is_ok();
    pacer.join().map_err(|_| "the pacer panicked")?;
    let held = idle.iter().filter(|connection| !connection.is_closed()).count();
    let seen = seen.borrow();
    Ok(json!({
        "seconds": options.seconds,
        "due": (options.seconds * options.rate) as u64,
        "in_time": in_time,
        "answered": seen.usual.len() + seen.rare.len(),
        "answered_before_the_end": seen.before_end,
        "refused": seen.refused.len(),
        "failed": seen.failed,
        "held": held,
        "usual": quantiles(&seen.usual),
        "rare": quantiles(&seen.rare),
        "refusals": quantiles(&seen.refused),
    }))
}

/// Sends what is due at its time. An own thread: a timer of the runtime has a millisecond's grain.
fn pace(
    options: &Options,
    begin: Instant,
    sender: mpsc::UnboundedSender<Due>,
) -> std::thread::JoinHandle<()> {
    let count = (options.seconds * options.rate) as u64;
    let (rate, every, fan) = (options.rate, options.every, options.fan.max(1));
    let rare = options.rare.is_some();
    std::thread::spawn(move || {
        for index in 0..count {
            let at = begin + Duration::from_secs_f64(index as f64 / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let rare = rare && index % every == every / 2;
            if sender.send(Due { at, rare, number: index % fan }).is_err() {
                return;
            }
        }
    })
}

type Connection = SendRequest<Empty<Bytes>>;

/// Opens connections. Each is used once, so that it is open on the server's side too.
async fn connect(options: &Options, count: usize) -> Fallible<Vec<Connection>> {
    let addr = options.addr;
    let opened = stream::iter(0..count).map(|_| async move {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        let path = options.path.replace("{}", "0");
        let status = get(&mut sender, addr, &path).await?;
        if status != 200 && status != 503 {
            return Err(format!("a new connection's first answer is {status}").into());
        }
        Ok(sender)
    });
    let opened: Vec<Fallible<Connection>> = opened.buffer_unordered(CONNECT).collect().await;
    opened.into_iter().collect()
}

async fn get(connection: &mut Connection, addr: SocketAddr, path: &str) -> hyper::Result<u16> {
    connection.ready().await?;
    let request = Request::builder().uri(path).header("host", addr.to_string());
    let request = request.body(Empty::new()).expect("a good request");
    let response = connection.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(status)
}

struct Client {
    connection: Connection,
    addr: SocketAddr,
    paths: Vec<String>,
    rare: String,
    end: Instant,
    cut: bool,
}

impl Client {
    async fn run(mut self, due: Rc<Mutex<mpsc::UnboundedReceiver<Due>>>, seen: Rc<RefCell<Seen>>) {
        loop {
            let next = due.lock().await.recv().await;
            let Some(next) = next else { return };
            if self.cut && Instant::now() >= self.end {
                continue;
            }
            let path = if next.rare { &self.rare } else { &self.paths[next.number as usize] };
            let sent = Instant::now();
            let status = get(&mut self.connection, self.addr, path).await;
            let mut seen = seen.borrow_mut();
            match status {
                Ok(200) => seen.answered(&next, self.end),
                // From when it was sent: a late start is the generator's.
                Ok(503) => seen.refused.saturating_record(micros(sent.elapsed())),
                _ => seen.failed += 1,
            }
            if status.is_err() {
                return;
            }
        }
    }
}

/// What came of the requests.
struct Seen {
    usual: Histogram<u64>,
    rare: Histogram<u64>,
    refused: Histogram<u64>,
    before_end: u64,
    failed: u64,
}

impl Seen {
    fn new() -> Self {
        let micros = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("good bounds");
        Self { usual: micros(), rare: micros(), refused: micros(), before_end: 0, failed: 0 }
    }

    fn answered(&mut self, request: &Due, end: Instant) {
        self.before_end += u64::from(Instant::now() < end);
        let latencies = if request.rare { &mut self.rare } else { &mut self.usual };
        latencies.saturating_record(micros(request.at.elapsed()));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn quantiles(latencies: &Histogram<u64>) -> Value {
    let millis = |q| latencies.value_at_quantile(q) as f64 / 1000.0;
    json!({ "p50": millis(0.5), "p99": millis(0.99), "p999": millis(0.999) })
}

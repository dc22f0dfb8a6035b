//! A policy of one's own: when does an instance end?
//!
//! Idle instances are kept for ten minutes, as long as the machine has memory to spare. When it
//! runs low, those that are idle end at once, and the others as soon as they are idle; when there
//! is enough again, instances are kept again. No request is lost by it: a verdict on an idle
//! instance is void if the instance was given a request meanwhile.
//!
//! ```sh
//! cargo run --release -p millpond-examples --example expiration [COMPONENT]
//!
//! curl localhost:3000/counter   # 1, then 2, then 3: the instance stays
//! curl localhost:3000/stats
//!
//! # As if memory were low all the time: always 1, each request finds a new instance.
//! MEMORY_LOW_BYTES=$((1 << 60)) cargo run ...
//! ```
//!
//! `MEMORY_LOW_BYTES` is how much memory has to be available, 256 MiB if there is no such variable;
//! `MEMINFO` is where that is read, `/proc/meminfo`; `ADDR` is the address to listen on,
//! `127.0.0.1:3000`.

use std::env;
use std::error::Error;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use millpond::expiration::{ExpirationContext, Expired, InstanceExpiration, boxed};
use millpond::{InfallibleService, Reason, Status, WasiHost, WasmPool};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // `MILLPOND_DEMO` is set by this package's build script. Name a file of yours instead.
    let component = env::args_os().nth(1).unwrap_or_else(|| env!("MILLPOND_DEMO").into());
    let threshold = match env::var("MEMORY_LOW_BYTES") {
        Ok(bytes) => bytes.parse().map_err(|error| format!("MEMORY_LOW_BYTES: {error}"))?,
        Err(_) => 256 << 20,
    };

    let (memory, low) = watch::channel(false);
    tokio::spawn(watch_memory(threshold, memory));

    let pool = WasmPool::builder(WasiHost::new())
        .limits(|limits| limits.idle_timeout = Duration::from_secs(600))
        // Called for each new instance. `default` has the timeouts, that above among them.
        .expiration(move |default| boxed(default.or(IdleWhileLow::new(low.clone()))))
        .from_file(component)?;

    let watched = pool.clone();
    let stats = async move || {
        let now = watched.snapshot();
        let (live, ended) = (now.instances.live(), now.retired.get(Reason::Pressure));
        format!("instances: {live} live, {ended} ended to save memory\n")
    };
    let app =
        Router::new().route("/stats", get(stats)).fallback_service(InfallibleService::new(pool));

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(addr).await?;
    println!("Listening on http://{}/", listener.local_addr()?);
    // Else what follows a response head waits for the client's delayed acknowledgement: 40 ms.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await?;
    Ok(())
}

/// Ends an instance that is idle while memory is low.
struct IdleWhileLow {
    low: watch::Receiver<bool>,
    /// Ends when `low` has changed; until then it keeps the waker it was polled with.
    change: Change,
}

type Change = Pin<Box<dyn Future<Output = ()> + Send>>;

impl IdleWhileLow {
    fn new(low: watch::Receiver<bool>) -> Self {
        let change = Self::change(low.clone());
        Self { low, change }
    }

    fn change(mut low: watch::Receiver<bool>) -> Change {
        Box::pin(async move {
            low.mark_unchanged();
            if low.changed().await.is_err() {
                // The watcher of the memory is gone: there will be no change.
                pending().await
            }
        })
    }
}

impl InstanceExpiration for IdleWhileLow {
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        // The pool polls this when the view of the instance changes. That memory is low now is
        // none of the pool's business, so the waker is left where that is known. And it is left
        // before the value is read: a change in between wakes it, and is not missed.
        let mut waker = Context::from_waker(cx.waker());
        while self.change.as_mut().poll(&mut waker).is_ready() {
            self.change = Self::change(self.low.clone());
        }
        // Level-triggered: the answer is about this moment. Once memory is there again or the
        // instance is busy, it is `Pending`, whatever it was before.
        if *self.low.borrow() && cx.view().status == Status::Idle {
            Poll::Ready(Expired::Retire(Reason::Pressure))
        } else {
            Poll::Pending
        }
    }
}

/// Says whether memory is low. One task for all instances, however many there are.
async fn watch_memory(threshold: u64, low: watch::Sender<bool>) {
    let path = env::var("MEMINFO").unwrap_or_else(|_| "/proc/meminfo".into());
    let mut each_second = interval(Duration::from_secs(1));
    // After a pause, no reading is made up for.
    each_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        each_second.tick().await;
        let available = match available(&path) {
            Ok(available) => available,
            Err(error) => {
                eprintln!(
                    "Cannot see how much memory there is, so it is never low: {path}: {error}"
                );
                low.send_replace(false);
                return;
            }
        };
        let changed = low.send_if_modified(|low| {
            let before = std::mem::replace(low, available < threshold);
            before != *low
        });
        if changed {
            let word = if *low.borrow() { "low" } else { "no longer low" };
            eprintln!("Memory is {word}: {available} bytes are available.");
        }
    }
}

/// The memory that programs could have without swapping, in bytes.
fn available(meminfo: &str) -> io::Result<u64> {
    // It is written as it is read, no disk is waited for: fit for a task.
    let text = std::fs::read_to_string(meminfo)?;
    // As in `MemAvailable:    8060288 kB`.
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| io::Error::other("it does not say how much is available"))
}

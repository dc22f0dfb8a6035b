//! Latencies of requests that are sent one at a time, with a pause between them: light load.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millpond_tests::{Client, Protocol, Server};

/// Sends `count` requests to each server, in turn, over one connection each: whatever the machine does
/// meanwhile, it does to all of them. On a thread of its own: the client's work is not to wait for a
/// thread of the servers.
pub(crate) async fn measure<const N: usize>(
    servers: [&Server; N],
    path: &'static str,
    count: usize,
    pause: Duration,
) -> [Latencies; N] {
    let addrs = servers.map(|server| server.addr);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(in_turn(addrs, path, count, pause))
    });
    tokio::task::spawn_blocking(|| client.join().expect("no panic")).await.expect("no panic")
}

async fn in_turn<const N: usize>(
    addrs: [SocketAddr; N],
    path: &str,
    count: usize,
    pause: Duration,
) -> [Latencies; N] {
    let mut clients = Vec::new();
    for addr in addrs {
        clients.push(Client::connect(addr, Protocol::Http1).await);
    }
    let mut all = [const { Vec::new() }; N];
    for _ in 0..count {
        for (client, latencies) in clients.iter_mut().zip(&mut all) {
            tokio::time::sleep(pause).await;
            let begin = Instant::now();
            let reply = client.get(path).await;
            latencies.push(begin.elapsed());
            assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
        }
    }
    all.map(|mut all| {
        all.sort();
        Latencies { all }
    })
}

/// Some latencies, sorted.
pub(crate) struct Latencies {
    all: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        self.all[((self.all.len() - 1) as f64 * q).round() as usize]
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |q| self.quantile(q).as_micros();
        write!(
            f,
            "p50 {:>6} us  p90 {:>6} us  p99 {:>6} us",
            micros(0.5),
            micros(0.9),
            micros(0.99)
        )
    }
}

/// How many times as long.
pub(crate) fn ratio(this: Duration, other: Duration) -> f64 {
    this.as_secs_f64() / other.as_secs_f64()
}

/// The median of ratios, with the least and the most.
pub(crate) fn summary(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{:.2} ({least:.2} to {most:.2})", ratios[ratios.len() / 2])
}

//! What a guarantee is worth: the latency of a quiet pool, alone and beside one that is flooded.

use std::time::Duration;

use futures::future::join_all;
use millpond::{
    BudgetLimits, HttpVersion, MaxRequests, Output, Share, SharedBudget, WasiHost, WasmPool,
};
use millpond_tests::{Protocol, Server, pool_of};
use tokio::task::JoinHandle;

use crate::latency::{Latencies, measure, ratio, summary};

const COUNT: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);
const CLIENTS: usize = 64;
/// What the loud requests wait for in their guest.
const HOLD: &str = "/sleep?ms=50";

pub(crate) async fn run(rounds: usize) {
    println!(
        "Latency of GET /hello, a fresh instance each, {COUNT} requests, one each {PAUSE:?}; the budget \
         is 8 instances,\nthe loud neighbour has {CLIENTS} clients with GET {HOLD}."
    );
    for guaranteed in [2, 0] {
        println!("\nguaranteed: {guaranteed}");
        let (mut medians, mut tails) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let budget = SharedBudget::new(BudgetLimits::instances(8));
            let quiet = serve(&budget, guaranteed).await;
            let loud = serve(&budget, 0).await;
            let [alone] = measure([&quiet], "/hello", COUNT, PAUSE).await;
            let flood = Flood::begin(&loud).await;
            let [beside] = measure([&quiet], "/hello", COUNT, PAUSE).await;
            let answered = flood.end().await;
            if round > 0 {
                report(round, &alone, &beside, answered);
                medians.push(ratio(beside.median(), alone.median()));
                tails.push(ratio(beside.quantile(0.99), alone.quantile(0.99)));
            }
        }
        println!("median of p50 beside the flood / alone:  {}", summary(medians));
        println!("median of p99 beside the flood / alone:  {}", summary(tails));
    }
}

fn report(round: usize, alone: &Latencies, beside: &Latencies, answered: usize) {
    println!("round {round}  alone   {alone}");
    println!("         beside  {beside}   ({answered} loud requests answered)");
}

async fn serve(budget: &SharedBudget, guaranteed: usize) -> Server {
    let host = WasiHost::new().output(Output::None);
    let mut share = Share::default();
    share.guaranteed = guaranteed;
    let builder = WasmPool::builder(host).budget(budget, share).limits(|limits| {
        limits.max_requests = MaxRequests::exactly(1);
        limits.concurrency = 1;
        limits.max_instances = 16;
    });
    Server::start(pool_of(HttpVersion::P2, builder).await).await
}

struct Flood {
    clients: Vec<JoinHandle<usize>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Flood {
    /// Clients that each send one request after another; begun when all places that the neighbour
    /// leaves are taken.
    async fn begin(loud: &Server) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let client = |_| {
            let (addr, stopped) = (loud.addr, stopped.clone());
            tokio::spawn(async move {
                let mut client = millpond_tests::Client::connect(addr, Protocol::Http1).await;
                let mut answered = 0;
                while !*stopped.borrow() {
                    assert_eq!(client.get(HOLD).await.status.as_u16(), 200);
                    answered += 1;
                }
                answered
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        loud.until("it is flooded", |now| now.queued > CLIENTS / 2).await;
        Self { clients, stop }
    }

    async fn end(self) -> usize {
        let _ = self.stop.send(true);
        let answered = join_all(self.clients).await;
        answered.into_iter().map(|client| client.expect("no client panics")).sum()
    }
}

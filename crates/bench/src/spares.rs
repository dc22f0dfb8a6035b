//! What a spare saves: the latency of a hello, one request at a time.

use std::time::Duration;

use millpond::{HttpVersion, Limits, MaxRequests, Output, WasiHost, WasmPool};
use millpond_tests::{Server, pool_of};

use crate::latency::{measure, ratio, summary};

const COUNT: usize = 500;
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) async fn run(rounds: usize) {
    println!(
        "Latency of GET /hello over HTTP/1.1: {COUNT} requests to each, in turn, {PAUSE:?} apart."
    );
    for version in [HttpVersion::P2, HttpVersion::P3] {
        println!("\n{version}");
        let reused = serve(version, |limits| limits.max_requests = MaxRequests::unlimited()).await;
        let fresh = serve(version, |_| ()).await;
        let spares = serve(version, |limits| limits.min_idle = 4).await;
        spares.pool.warmed().await;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        // The first round warms everything up.
        for round in 0..=rounds {
            let servers = [&reused, &fresh, &spares];
            let [reused, fresh, spares] = measure(servers, "/hello", COUNT, PAUSE).await;
            if round == 0 {
                continue;
            }
            println!("round {round}  reused         {reused}");
            println!("         fresh          {fresh}");
            println!("         fresh, spares  {spares}");
            without.push(ratio(fresh.median(), reused.median()));
            with.push(ratio(spares.median(), reused.median()));
        }
        println!("median of fresh / reused:               {}", summary(without));
        println!("median of fresh with spares / reused:   {}", summary(with));
    }
}

async fn serve(version: HttpVersion, change: impl FnOnce(&mut Limits) + Send + 'static) -> Server {
    let host = WasiHost::new().output(Output::None);
    let builder = WasmPool::builder(host).limits(|limits| {
        limits.max_requests = MaxRequests::exactly(1);
        limits.concurrency = 1;
        limits.max_instances = 16;
        change(limits);
    });
    Server::start(pool_of(version, builder).await).await
}

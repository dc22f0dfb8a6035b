//! A server under attack for a while: what it holds stays what it is, and innocents notice little.
//!
//! The binary `millpond` beside this one serves the test guests, 0.2 in one process and 0.3 behind middleware in
//! another. First innocents are alone, then the hostile come too, last the innocents are alone again. Each second it
//! is written down what the processes hold. Innocents send at a fixed rate, and each byte of their answers is checked.

mod hostile;
mod innocents;
mod plot;
mod report;
mod samples;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use millpond::HttpVersion;

use crate::Fallible;
use crate::compare::server::Server;
use innocents::Seen;
use samples::{Phase, Samples};

/// Not measured: code that runs for the first time, and memory that is taken once.
const WARM_UP: Duration = Duration::from_secs(5);
/// Alone, at the beginning and at the end. The second time, what the hostile have left behind times out first.
const CALM: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(20);

/// Of each pool. A place of the allocator keeps up to 1 MiB of what its instance has touched, so with many it takes long
/// until all of them have kept what they will.
const INSTANCES: usize = 16;

#[derive(Args)]
pub(crate) struct Options {
    /// How long in all; in less than ten, what is taken once outweighs what grows
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Requests of innocents a second, to each of the two servers
    #[arg(long, default_value_t = 400.0)]
    rate: f64,
    /// Attackers of each kind
    #[arg(long, default_value_t = 1)]
    attackers: usize,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
    /// Draw a picture into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs it. `Err`, after the report, if it is not flat.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let servers = [start(&p2())?, start(&p3())?];
    let addrs = [servers[0].addr, servers[1].addr];
    let pids = [servers[0].pid(), servers[1].pid()];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seen = Arc::new(Seen::default());
    let samples = runtime.block_on(soak(options, addrs, pids, &seen))?;
    // Those that hold sockets open do not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));

    let report = report::Report::new(&samples, &seen);
    match options.json {
        true => println!("{}", report.json()),
        false => println!("{report}"),
    }
    if let Some(file) = &options.svg {
        std::fs::write(file, plot::plot(&samples))?;
    }
    let flat = report.failures().is_empty();
    if flat { Ok(()) } else { Err(format!("not flat: {}", report.failures().join("; ")).into()) }
}

async fn soak(
    options: &Options,
    addrs: [SocketAddr; 2],
    pids: [u32; 2],
    seen: &Arc<Seen>,
) -> Fallible<Samples> {
    let total = Duration::from_secs_f64(options.minutes * 60.0);
    let calm = CALM.min(total / 6);
    let settle = SETTLE.min(total / 8);
    let attack = total.saturating_sub(WARM_UP + calm * 2 + settle).max(calm);
    // Places of the components' allocators take what they keep: in the middle of the attack, that would look like a leak.
    hostile::fill(addrs, INSTANCES, seen).await;
    innocents::start(addrs, options.rate, seen);

    let mut samples = Samples::new(pids, Arc::clone(seen));
    samples.take(Phase::WarmUp, WARM_UP).await?;
    samples.take(Phase::Calm, calm).await?;
    let hostile = hostile::start(addrs, options.attackers, seen);
    samples.take(Phase::Attack, attack).await?;
    drop(hostile);
    samples.take(Phase::Settling, settle).await?;
    samples.take(Phase::After, calm).await?;
    Ok(samples)
}

fn p2() -> Vec<String> {
    vec![guest(HttpVersion::P2), format!("--max-instances={INSTANCES}")]
}

/// Behind middleware, and each instance for many requests, one at a time: of several on one instance, all fail with the
/// one that traps, which is as it must be and would count as wrong.
fn p3() -> Vec<String> {
    let module = millpond_tests::guest_module().display().to_string();
    vec![
        guest(HttpVersion::P3),
        format!("--max-instances={INSTANCES}"),
        "--max-instance-concurrent-reuse-count=1".into(),
        "--middleware".into(),
        module,
        format!("--max-middleware-instances={INSTANCES}"),
    ]
}

fn guest(version: HttpVersion) -> String {
    millpond_tests::guest(version).display().to_string()
}

fn start(args: &[String]) -> Fallible<Server> {
    let millpond = std::env::current_exe()?.with_file_name("millpond");
    let mut command = Command::new(millpond);
    command.args(["serve", "--addr=127.0.0.1:0", "--request-timeout=2s", "--max-memory=64MiB"]);
    let server = Server::start({
        command.args(args);
        command
    })?;
    let began = Instant::now();
    server.answers("/hello")?;
    eprintln!("{} answers after {:?}", server.addr, began.elapsed());
    Ok(server)
}

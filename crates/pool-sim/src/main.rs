//! Runs simulated lives of pools, and says what was seen or what went wrong.

use std::process::ExitCode;

use clap::Parser;
use millpond_pool_sim::Run;

/// Drives the pool's state machines in virtual time, with faults, and checks what they promise.
#[derive(Debug, Parser)]
struct Args {
    /// Requests to submit, at least, in each run.
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// Seed of the first run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, each with the next seed.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Replay the life with this seed, as a failure names it.
    #[arg(long)]
    replay: Option<u64>,
    /// With --replay: print all that happens.
    #[arg(long, requires = "replay")]
    trace: bool,
    /// One JSON object for each run.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut code = ExitCode::SUCCESS;
    let seeds = args.seed..args.seed.saturating_add(args.runs);
    for seed in if args.replay.is_some() { 0..1 } else { seeds } {
        let result = match args.replay {
            Some(life) => Run::replay(life, args.trace),
            None => Run { seed, requests: args.requests }.run(),
        };
        match result {
            Ok(summary) if args.json => println!("{}", summary.to_json()),
            Ok(summary) => println!("{summary}"),
            Err(failure) => {
                code = ExitCode::FAILURE;
                if args.json {
                    println!("{}", failure.to_json());
                } else {
                    println!("{failure}");
                }
            }
        }
    }
    code
}

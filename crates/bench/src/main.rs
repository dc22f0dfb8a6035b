//! Measures what the documents claim. Each measurement compares kinds of one thing in turn, in
//! several rounds within one run, and prints ratios taken within a round: absolute figures are the
//! machine's.
//!
//! `cargo run --release -p millpond-bench -- spares`; for [`compare`], build `millpond` too:
//! `cargo build --release -p millpond-cli -p millpond-bench`, and
//! `target/release/millpond-bench compare --wasmtime PATH`.

mod calls;
mod compare;
mod latency;
mod layer;
mod load;
mod neighbours;
mod peers;
mod soak;
mod spares;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The result of most functions here. Errors are only printed, never told apart.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Measures Millpond", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// Rounds; the median of their ratios is printed last
    #[arg(long, default_value_t = 5, global = true)]
    rounds: usize,
}

#[derive(Subcommand)]
enum What {
    /// Light load on fresh instances, with and without spares, and on reused ones
    Spares,
    /// A quiet pool beside one that is flooded, on one budget
    Neighbours,
    /// What a call costs without a network, beside wasmtime's ProxyHandler
    Calls(calls::Options),
    /// What an http-wasm guest costs in front of a service, beside native middleware and a component
    Layer,
    /// Millpond beside its peers: bare axum, wasmtime's ProxyHandler, `wasmtime serve`
    Compare(compare::Options),
    /// The server under attack for a while: whether what it holds stays what it is, and what innocents notice
    Soak(soak::Options),
    /// One load at a fixed rate; prints what came of it as JSON
    #[command(hide = true)]
    Load(load::Options),
    /// Serves as a peer
    #[command(hide = true, subcommand)]
    Peer(peers::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build: the figures mean nothing. Use --release.");
    }
    let outcome = match cli.what {
        What::Spares => in_runtime(spares::run(cli.rounds)),
        What::Neighbours => in_runtime(neighbours::run(cli.rounds)),
        What::Compare(options) => compare::run(&options, cli.rounds),
        What::Soak(options) => soak::run(&options),
        What::Load(options) => load::run(&options),
        What::Calls(options) => calls::run(&options, cli.rounds),
        What::Layer => layer::run(cli.rounds),
        What::Peer(options) => peers::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millpond-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(what: impl Future<Output = ()>) -> Fallible<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(what);
    Ok(())
}

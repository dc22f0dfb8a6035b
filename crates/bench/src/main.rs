//! Measures what the documents claim. Each measurement compares kinds of one thing in turn, in
//! several rounds within one run, and prints ratios taken within a round: absolute figures are the
//! machine's.
//!
//! `cargo run --release -p millpond-bench -- spares`

mod latency;
mod neighbours;
mod spares;

use clap::{Parser, Subcommand};

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
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build: the figures mean nothing. Use --release.");
    }
    match cli.what {
        What::Spares => spares::run(cli.rounds).await,
        What::Neighbours => neighbours::run(cli.rounds).await,
    }
}

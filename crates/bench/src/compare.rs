//! Millpond beside its peers. Each server runs in a process of its own, so that its processor time and
//! its memory are its own, and only while it is measured. Within each round all peers have their turn
//! on each workload of a group; what is printed are medians over the rounds, with the least and the
//! most, and ratios taken within a round.

mod instances;
mod peer;
mod probe;
pub(crate) mod process;
mod reading;
mod records;
pub(crate) mod report;
pub(crate) mod server;
mod turn;
mod workload;
mod wrk;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Fallible;
use peer::{Peer, Programs};
use records::Records;
use turn::Turn;
pub(crate) use workload::Guest;
use workload::{WORKLOADS, Workload};

/// From this load average on, other processes are at work too.
const BUSY: f64 = 0.5;

#[derive(Args)]
pub(crate) struct Options {
    /// How long each load takes
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// [default: all; wasmtime where its path is given]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Where `wasmtime` is, for `wasmtime serve`
    #[arg(long, value_name = "PATH")]
    wasmtime: Option<PathBuf>,
    /// Names of workloads or groups [default: all]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Write a report here, and a plot beside it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write all readings here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How a run was made.
struct Run {
    rounds: usize,
    seconds: f64,
    /// The machine's load average before anything was measured.
    load_before: f64,
}

pub(crate) fn run(options: &Options, rounds: usize) -> Fallible<()> {
    wrk::check()?;
    let run = Run { rounds, seconds: options.seconds, load_before: report::machine::load()? };
    if run.load_before > BUSY {
        eprintln!("The machine is busy (load average {}): expect noise.", run.load_before);
    }
    let programs = Programs::find(options.wasmtime.clone())?;
    let peers = match &options.peers[..] {
        [] => Peer::ALL.into_iter().filter(|peer| programs.has(*peer)).collect(),
        some => some.to_vec(),
    };
    let workloads = chosen(&options.workloads)?;
    let scratch = Scratch::new()?;
    let mut records = Records::default();
    let mut failed = Vec::new();
    for group in workloads.chunk_by(|one, next| one.group == next.group) {
        for round in 1..=rounds {
            for workload in group {
                // A different peer is first in each round.
                let mut order = peers.clone();
                order.rotate_left(round % peers.len());
                for peer in order.into_iter().filter(|peer| workload.peers.contains(peer)) {
                    progress(&format!("round {round}: {}, {peer}", workload.name));
                    let (seconds, scratch) = (run.seconds, scratch.path());
                    let turn = Turn { programs: &programs, workload, peer, seconds, scratch };
                    match turn.take() {
                        Ok(reading) => records.add(workload.name, peer, round, reading),
                        // The rest is measured, and written, all the same.
                        Err(error) => failed.push(error.to_string()),
                    }
                }
            }
        }
        progress("");
        for workload in group {
            println!("{}\n\n{}", workload.title, report::table::results(&records, workload));
        }
    }
    println!("{}", report::targets::targets(&records));
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", records.json()))?;
    }
    if let Some(file) = &options.write {
        report::write(file, &programs, &records, &run)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// Prints a line that the next one replaces, if stderr is a terminal.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    }
}

fn chosen(names: &[String]) -> Fallible<Vec<&'static Workload>> {
    let is = |workload: &Workload, name: &str| workload.name == name || workload.group == name;
    for name in names {
        if !WORKLOADS.iter().any(|workload| is(workload, name)) {
            let known: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
            return Err(format!("no workload {name}; there are {}", known.join(", ")).into());
        }
    }
    let wanted =
        |workload: &&Workload| names.is_empty() || names.iter().any(|name| is(workload, name));
    Ok(WORKLOADS.iter().filter(wanted).collect())
}

/// A directory for the time of the run.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Fallible<Self> {
        let path = std::env::temp_dir().join(format!("millpond-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

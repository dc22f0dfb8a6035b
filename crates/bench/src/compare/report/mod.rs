//! The report of a run, as Markdown: everything in it is from that run.

pub(crate) mod machine;
pub(crate) mod plot;
pub(crate) mod table;
pub(crate) mod targets;

use std::path::Path;

use crate::Fallible;
use crate::compare::Run;
use crate::compare::peer::Programs;
use crate::compare::records::Records;
use crate::compare::workload::{WORKLOADS, Workload};

/// Writes it, and the plot beside it.
pub(super) fn write(
    file: &Path,
    programs: &Programs,
    records: &Records,
    run: &Run,
) -> Fallible<()> {
    let svg = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase() + ".svg";
    let plot = plot::plot(records);
    let mut text = String::from(INTRODUCTION);
    let rows = [vec!["".to_owned(), "".to_owned()]].into_iter();
    let described = machine::describe(programs);
    let described = described.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    let load = ["load average before the run".to_owned(), run.load_before.to_string()];
    let described = described.chain([load.to_vec()]);
    text += &table::table(&rows.chain(described).collect::<Vec<_>>());
    let Run { rounds, seconds, .. } = run;
    text += &format!(
        "\n{rounds} rounds, {seconds} s for each load after a warm-up of a third of that. To repeat it:\n\n\
         ```console\n$ cargo build --release -p millpond-cli -p millpond-bench\n\
         $ target/release/millpond-bench compare --rounds {rounds} --seconds {seconds} \
         --wasmtime PATH --write docs/BENCHMARKS.md\n```\n"
    );
    text += &format!("\n## Targets\n\n{TARGETS}\n{}", targets::targets(records));
    if plot.is_some() {
        text += &format!("\n![Hello, requests a second]({svg})\n");
    }
    text += "\n## Workloads\n";
    for workload in WORKLOADS.iter().filter(|workload| records.has(workload.name)) {
        text += &section(programs, records, workload);
    }
    std::fs::write(file, text)?;
    if let Some(plot) = plot {
        std::fs::write(file.with_file_name(svg), plot)?;
    }
    Ok(())
}

fn section(programs: &Programs, records: &Records, workload: &Workload) -> String {
    let Workload { name, title, path, .. } = workload;
    let mut text = format!("\n### {name}\n\n{title}. `GET {path}`\n\n");
    if workload.uploads() {
        text = text.replace("`GET ", "`POST ");
    }
    text += &table::results(records, workload);
    text += "\n```console\n";
    for peer in workload.peers.iter().filter(|peer| records.has_of(name, **peer)) {
        text += &format!("$ {}\n", programs.typed(*peer, workload));
    }
    text + "```\n"
}

const INTRODUCTION: &str = "# Benchmarks

Made by `millpond-bench compare`; every number is from one run of it. Absolute figures are the machine's, and the load
generator shares its cores with the servers: what counts are the ratios, which are taken within a round. A figure is the median over the
rounds, with the least and the most.

- `millpond` and `wasmtime` are `millpond serve` and `wasmtime serve`, with their defaults but for the flags shown.
- `proxy-handler` is wasmtime's `ProxyHandler` behind axum, set up as `wasmtime serve` does it: what an embedder
  would write.
- `axum` is axum with handlers in Rust, no guest: the floor.

CPU is user and system time of the server's process. Memory is what is resident, its peak from the end of the warm-up. Latencies at a fixed rate count from
when a request was due, not from when it could be sent. The guests are those of the tests: [p2](../tests/guests/p2), [p3](../tests/guests/p3),
and [one with much code](../crates/bench/guests/large).

";

const TARGETS: &str = "Ratios are to `wasmtime serve` unless it says otherwise. The last column is what `axum` reaches by the \
same measure, with no guest to run: on this machine nothing that runs one can get beyond it.\n";

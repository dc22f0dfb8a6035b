//! Runs requests of one case, for valgrind to count: see `crates/pool-bench/count`.
//!
//! Without arguments it names the cases; with a case and a number, it runs so many requests.

use std::process::ExitCode;

use millpond_pool_bench::{Bare, Case, Clock, Handled, Unserved};

/// What counts as many.
const INSTANCES: usize = 10_000;

/// Until vectors have grown and the reaper has found its pace.
const WARM_UP: usize = 1000;

fn main() -> ExitCode {
    let cases = Case::compared(INSTANCES);
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        for layer in ["pool", "handle"] {
            cases.iter().for_each(|case| println!("{layer}/{case}"));
        }
        for (kind, instances) in UNSERVED {
            println!("unserved/{kind}/{instances}");
        }
        return ExitCode::SUCCESS;
    };
    let requests = args.next().and_then(|requests| requests.parse().ok());
    let (Some((layer, kind)), Some(requests)) = (name.split_once('/'), requests) else {
        eprintln!("Usage: millpond-pool-bench [CASE REQUESTS]");
        return ExitCode::FAILURE;
    };
    if layer == "unserved" {
        return run_unserved(kind, requests);
    }
    let Some(&case) = cases.iter().find(|case| case.to_string() == kind) else {
        eprintln!("There is no case {name}");
        return ExitCode::FAILURE;
    };
    match layer {
        "pool" => {
            let mut bare = Bare::new(case);
            run(requests, &mut || bare.request());
        }
        _ => {
            let (handled, mut callers) = Handled::new(case, Clock::steps(), 1);
            run(requests, &mut || {
                callers[0].request();
                handled.turn();
            });
            // Its end takes longer than what is measured.
            std::mem::forget((handled, callers));
        }
    }
    ExitCode::SUCCESS
}

/// Of pools that serve no request: what their instances do, and how many they are.
const UNSERVED: [(&str, usize); 4] =
    [("starting", 1), ("starting", INSTANCES), ("draining", 1), ("draining", INSTANCES)];

fn run_unserved(kind: &str, requests: usize) -> ExitCode {
    match UNSERVED.iter().find(|(name, instances)| format!("{name}/{instances}") == kind) {
        Some(&("starting", instances)) => {
            let mut unserved = Unserved::starting(instances);
            run(requests, &mut || unserved.come_and_go());
        }
        Some(&(_, instances)) => {
            let mut unserved = Unserved::draining(instances);
            run(requests, &mut || unserved.report());
        }
        None => {
            eprintln!("There is no unserved {kind}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(requests: usize, request: &mut dyn FnMut()) {
    (0..WARM_UP).for_each(|_| request());
    counted_requests(requests, request);
}

/// Valgrind counts what happens in here, so its name matters.
#[inline(never)]
fn counted_requests(requests: usize, request: &mut dyn FnMut()) {
    (0..requests).for_each(|_| request());
}

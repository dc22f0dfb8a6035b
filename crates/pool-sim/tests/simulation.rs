//! A hundred thousand requests: no invariant is violated, the same seed gives the same run, and
//! nothing that the simulator can do is left undone.

use millpond_pool_core::{Reason, Refusal};
use millpond_pool_sim::{Run, Summary, Tally};

fn run(seed: u64, requests: u64) -> Summary {
    Run { seed, requests }.run().unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn no_violation_and_every_fault_occurs() {
    let seeds = [1, 2, 6, 13];
    let runs: Vec<_> = std::thread::scope(|scope| {
        let runs = seeds.map(|seed| scope.spawn(move || run(seed, 25_000)));
        runs.into_iter().map(|run| run.join().expect("a run says what went wrong")).collect()
    });
    assert!(runs.iter().map(|run| run.requests).sum::<u64>() >= 100_000);

    let happened =
        |name: &str, of: fn(&Tally) -> &std::collections::BTreeMap<&'static str, u64>| {
            runs.iter().any(|run| of(&run.tally).get(name).is_some_and(|count| *count > 0))
        };
    let mut missing = Vec::new();
    let faults = Tally::FAULTS.iter().filter(|name| !happened(name, |tally| &tally.faults));
    missing.extend(faults.copied());
    let refusals = Refusal::ALL.iter().map(|refusal| refusal.as_str());
    missing.extend(refusals.filter(|name| !happened(name, |tally| &tally.refusals)));
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    missing.extend(reasons.filter(|name| !happened(name, |tally| &tally.reasons)));
    let outcomes = ["responded", "failed", "refused", "cancelled", "overloaded", "timed out"];
    missing.extend(outcomes.into_iter().filter(|name| !happened(name, |tally| &tally.outcomes)));
    assert_eq!(missing, Vec::<&str>::new(), "the simulator no longer does this");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, other, third) = (run(7, 5_000), run(7, 5_000), run(8, 5_000));
    assert_eq!((one.hash, one.steps), (other.hash, other.steps));
    assert_ne!(one.hash, third.hash);
}

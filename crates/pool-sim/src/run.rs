//! A run: one life after the other until enough requests were submitted.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::tally::Tally;
use crate::trace::Hash;
use crate::world::{Violation, World};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Of all chance in it.
    pub seed: u64,
    /// How many are submitted at least.
    pub requests: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// Requests that were submitted.
    pub requests: u64,
    /// Lives.
    pub lives: u64,
    /// Inputs of pools.
    pub steps: u64,
    /// What was seen.
    pub tally: Tally,
    /// Of all that went in and came out, with its times.
    pub hash: u64,
    /// Time that passed in the simulated world.
    pub virtual_time: Duration,
    /// Time that passed.
    pub wall_time: Duration,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Of the life in which that was: to be replayed.
    pub seed: u64,
    /// Inputs of pools in that life.
    pub step: u64,
    /// In that life.
    pub virtual_time: Duration,
    /// Requests that were submitted in the whole run.
    pub requests: u64,
    /// Which invariant.
    pub invariant: &'static str,
    /// How.
    pub what: String,
    /// The last that happened.
    pub trace: Vec<String>,
}

impl Run {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// With the first invariant that does not hold.
    pub fn run(self) -> Result<Summary, Box<Failure>> {
        let begin = Instant::now();
        let mut seeds = Random::new(self.seed);
        let mut hash = Hash::EMPTY;
        let mut summary = Summary::new(self.seed);
        while summary.requests < self.requests {
            let before = summary.requests;
            live(seeds.next(), false, &mut summary, &mut hash).map_err(|mut failure| {
                failure.requests += before;
                failure
            })?;
        }
        summary.hash = hash.0;
        summary.wall_time = begin.elapsed();
        Ok(summary)
    }

    /// Runs the life with this seed alone, and prints its trace if asked to.
    ///
    /// # Errors
    ///
    /// With the first invariant that does not hold.
    pub fn replay(seed: u64, verbose: bool) -> Result<Summary, Box<Failure>> {
        let begin = Instant::now();
        let mut hash = Hash::EMPTY;
        let mut summary = Summary::new(seed);
        live(seed, verbose, &mut summary, &mut hash)?;
        summary.hash = hash.0;
        summary.wall_time = begin.elapsed();
        Ok(summary)
    }
}

impl Summary {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            requests: 0,
            lives: 0,
            steps: 0,
            tally: Tally::default(),
            hash: 0,
            virtual_time: Duration::ZERO,
            wall_time: Duration::ZERO,
        }
    }
}

fn live(
    seed: u64,
    verbose: bool,
    summary: &mut Summary,
    hash: &mut Hash,
) -> Result<(), Box<Failure>> {
    let mut world = World::new(seed, verbose);
    // A panic in the pool is a finding like any other.
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "a panic without a message".into());
        Err(Violation { invariant: "no-panic", what })
    });
    result.map_err(|Violation { invariant, what }| Failure {
        seed,
        step: world.step,
        virtual_time: Duration::from_nanos(world.now),
        requests: world.submitted,
        invariant,
        what,
        trace: world.trace.last_lines(),
    })?;
    summary.requests += world.submitted;
    summary.lives += 1;
    summary.steps += world.step;
    summary.virtual_time += Duration::from_nanos(world.now);
    summary.tally.add(&world.tally);
    hash.add(world.trace.hash.0);
    Ok(())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Self { seed, step, virtual_time, requests, invariant, what, .. } = self;
        writeln!(f, "VIOLATED {invariant}: {what}")?;
        writeln!(f, "seed {seed}, step {step}, virtual time {virtual_time:?}, request {requests}")?;
        write!(f, "replay: --replay {seed} --trace")
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, requests, lives, steps, virtual_time, wall_time, .. } = self;
        writeln!(f, "seed {seed}: {requests} requests in {lives} lives, {steps} steps")?;
        for (title, counts) in self.tally.tables() {
            writeln!(f, "{title}")?;
            for (name, count) in counts {
                writeln!(f, "  {name:<28} {count:>10}")?;
            }
        }
        let (secs, wall) = (virtual_time.as_secs(), wall_time.as_secs_f64());
        writeln!(f, "virtual time {secs} s, wall time {wall:.2} s")?;
        write!(f, "trace hash {:016x}", self.hash)
    }
}

impl Summary {
    /// The same for machines: one JSON object on one line.
    pub fn to_json(&self) -> String {
        let tables = self.tally.tables().map(|(title, counts)| {
            let counts = counts.iter().map(|(name, count)| format!("\"{name}\":{count}"));
            format!("\"{title}\":{{{}}}", counts.collect::<Vec<_>>().join(","))
        });
        format!(
            "{{\"seed\":{},\"submitted\":{},\"lives\":{},\"steps\":{},\"virtual_seconds\":{},\
             \"wall_seconds\":{:.3},\"hash\":\"{:016x}\",{}}}",
            self.seed,
            self.requests,
            self.lives,
            self.steps,
            self.virtual_time.as_secs(),
            self.wall_time.as_secs_f64(),
            self.hash,
            tables.join(",")
        )
    }
}

impl Failure {
    /// The same for machines: one JSON object on one line.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"violated\":\"{}\",\"what\":{:?},\"seed\":{},\"step\":{},\"virtual_seconds\":{},\
             \"request\":{}}}",
            self.invariant,
            self.what,
            self.seed,
            self.step,
            self.virtual_time.as_secs_f64(),
            self.requests
        )
    }
}

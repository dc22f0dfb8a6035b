//! Whether it was flat.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::innocents::Seen;
use super::samples::{Held, Phase, Sample, Samples};

/// MiB for each million requests.
const MOST_GROWTH: f64 = 1.0;
/// Times the p99 of innocents alone.
const MOST_DELAY: f64 = 2.0;
/// More than this is a leak; fewer are connections and blocking threads that come and go.
const MOST_DESCRIPTORS: f64 = 16.0;
const MOST_THREADS: f64 = 4.0;
/// Seconds of which only the least counts: what the hostile hold at the moment is not what they leave behind.
const WINDOW: usize = 30;

pub(super) struct Report {
    rows: Vec<Row>,
    /// MiB for each million requests, and how far that may be off.
    slope: (f64, f64),
    calm: [f64; 2],
    attack: [f64; 2],
    after: [f64; 2],
    requests: u64,
    refused: u64,
    wrong: u64,
    dishonest: u64,
    first_wrong: Option<String>,
}

struct Row {
    name: &'static str,
    memory: f64,
    most_memory: f64,
    descriptors: f64,
    threads: f64,
    p50: f64,
    p99: f64,
}

impl Row {
    fn new(name: &'static str, samples: &[&Sample]) -> Self {
        let least = |of: fn(&Held) -> f64| {
            samples.iter().map(|sample| sample.sum(of)).reduce(f64::min).unwrap_or(f64::NAN)
        };
        let most = samples.iter().map(|sample| sample.sum(|held| held.memory)).reduce(f64::max);
        let median = |quantile| {
            let mut all: Vec<f64> = samples.iter().map(|sample| sample.millis(quantile)).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            name,
            memory: least(|held| held.memory),
            most_memory: most.unwrap_or(f64::NAN),
            descriptors: least(|held| held.descriptors as f64),
            threads: least(|held| held.threads as f64),
            p50: median(0.5),
            p99: median(0.99),
        }
    }
}

impl Report {
    pub(super) fn new(samples: &Samples, seen: &Seen) -> Self {
        let attack = samples.of(Phase::Attack);
        let tenth = (attack.len() / 10).max(1);
        let rows = vec![
            Row::new("calm", &samples.of(Phase::Calm)),
            Row::new("attack, first tenth", &attack[..tenth]),
            Row::new("attack, last tenth", &attack[attack.len() - tenth..]),
            Row::new("after", &samples.of(Phase::After)),
        ];
        let quantiles = |phase| {
            let all = samples.latencies(phase);
            [0.5, 0.99].map(|quantile| all.value_at_quantile(quantile) as f64 / 1000.0)
        };
        Self {
            rows,
            // The first half takes what is taken once.
            slope: slope(&floors(&attack[attack.len() / 2..])),
            calm: quantiles(Phase::Calm),
            attack: quantiles(Phase::Attack),
            after: quantiles(Phase::After),
            requests: seen.requests(),
            refused: seen.refused.load(Relaxed),
            wrong: seen.wrong.load(Relaxed),
            dishonest: seen.dishonest.load(Relaxed),
            first_wrong: seen.first_wrong(),
        }
    }

    /// Why it is not flat.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut holds = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        let (slope, error) = self.slope;
        holds(
            slope - 2.0 * error <= MOST_GROWTH,
            format!(
                "memory grows by {slope:.2} MiB for 10^6 requests, expected at most {MOST_GROWTH}"
            ),
        );
        let [_, first, last, _] = &self.rows[..] else { return vec!["no samples".to_owned()] };
        let grows = |most, of: fn(&Row) -> f64| of(last) - of(first) <= most;
        holds(grows(MOST_DESCRIPTORS, |row| row.descriptors), "descriptors grow".to_owned());
        holds(grows(MOST_THREADS, |row| row.threads), "threads grow".to_owned());
        let ratio = self.attack[1] / self.calm[1];
        holds(
            ratio <= MOST_DELAY,
            format!("p99 is {ratio:.2} times that alone, expected at most {MOST_DELAY}"),
        );
        let wrong = self.first_wrong.as_deref().unwrap_or_default();
        holds(self.wrong == 0, format!("{} wrong answers, the first: {wrong}", self.wrong));
        holds(self.dishonest == 0, format!("{} cut bodies look whole", self.dishonest));
        failures
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "phase": row.name,
                "memory_mib_least": row.memory,
                "memory_mib_most": row.most_memory,
                "descriptors_least": row.descriptors,
                "threads_least": row.threads,
                "p50_ms": row.p50,
                "p99_ms": row.p99,
            })
        });
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "requests": self.requests,
            "refused": self.refused,
            "wrong": self.wrong,
            "dishonest": self.dishonest,
            "mib_per_million_requests": self.slope.0,
            "mib_per_million_requests_error": self.slope.1,
            "calm_ms": { "p50": self.calm[0], "p99": self.calm[1] },
            "attack_ms": { "p50": self.attack[0], "p99": self.attack[1] },
            "after_ms": { "p50": self.after[0], "p99": self.after[1] },
            "flat": self.failures().is_empty(),
            "failures": self.failures(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Both servers together; the least of each time, and the median second's latencies:"
        )?;
        writeln!(
            f,
            "{:<20} {:>11} {:>11} {:>12} {:>8} {:>9} {:>9}",
            "", "memory MiB", "at most", "descriptors", "threads", "p50 ms", "p99 ms"
        )?;
        for row in &self.rows {
            let Row { name, memory, most_memory, descriptors, threads, p50, p99 } = row;
            writeln!(
                f,
                "{name:<20} {memory:>11.1} {most_memory:>11.1} {descriptors:>12} {threads:>8} {p50:>9.2} {p99:>9.2}"
            )?;
        }
        let Self { requests, refused, wrong, dishonest, slope, .. } = self;
        writeln!(
            f,
            "{requests} requests; innocents: {refused} refused, {wrong} wrong; {dishonest} cut bodies look whole"
        )?;
        writeln!(
            f,
            "memory in the second half: {:+.2} MiB for 10^6 requests (+- {:.2})",
            slope.0, slope.1
        )?;
        for (name, [p50, p99]) in
            [("alone", self.calm), ("under attack", self.attack), ("after", self.after)]
        {
            writeln!(f, "innocents {name}: p50 {p50:.2} ms, p99 {p99:.2} ms")?;
        }
        match &self.failures()[..] {
            [] => write!(f, "flat"),
            failures => write!(f, "NOT flat: {}", failures.join("; ")),
        }
    }
}

/// For each window, the requests so far and the least memory.
fn floors(samples: &[&Sample]) -> Vec<(f64, f64)> {
    let floor = |window: &[&Sample]| {
        let least = window.iter().map(|sample| sample.sum(|held| held.memory)).reduce(f64::min);
        let requests = window.iter().map(|sample| sample.requests as f64).sum::<f64>();
        (requests / window.len() as f64 / 1e6, least.unwrap_or(0.0))
    };
    samples.chunks(WINDOW.min((samples.len() / 8).max(1))).map(floor).collect()
}

/// Of the line through these points, with its standard error.
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    let off = |point: &(f64, f64)| (point.1 - y - slope * (point.0 - x)).powi(2);
    let error = (points.iter().map(off).sum::<f64>() / (count - 2.0).max(1.0) / spread).sqrt();
    (slope, error)
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_of_a_line_is_exact() {
        let line: Vec<_> = (0..10).map(|n| (f64::from(n), 100.0 + 3.0 * f64::from(n))).collect();
        let (slope, error) = slope(&line);
        assert!((slope - 3.0).abs() < 1e-9 && error < 1e-9, "{slope} {error}");
    }

    #[test]
    fn noise_is_an_error_and_no_slope() {
        let noise: Vec<_> = (0..100).map(|n| (f64::from(n) / 100.0, f64::from(n % 2))).collect();
        let (slope, error) = slope(&noise);
        assert!(slope.abs() < 2.0 * error, "{slope} {error}");
    }
}

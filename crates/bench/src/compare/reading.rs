//! What one load on one server gave: a number for each metric.

use std::collections::BTreeMap;
use std::fmt;

/// In the order of the tables' columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// Answers a second.
    Rate,
    /// Bodies, a second.
    Mebibytes,
    /// At twice the capacity: good answers a second, before the end.
    Goodput,
    /// Goodput by the rate at capacity.
    Kept,
    /// Refused, a second.
    Refused,
    /// How long a refusal took.
    Refusal,
    /// Of the server, for each answer.
    Cpu,
    P50,
    P99,
    P999,
    FirstAnswer,
    PeakMemory,
    Memory,
    Instances,
    /// Connections that were held and were still open at the end.
    Held,
}

impl Metric {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Rate => "requests/s",
            Self::Mebibytes => "MiB/s",
            Self::Goodput => "goodput/s at twice that",
            Self::Kept => "goodput kept",
            Self::Refused => "refused/s",
            Self::Refusal => "refusal p99 ms",
            Self::Cpu => "CPU us/request",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::P999 => "p99.9 ms",
            Self::FirstAnswer => "first answer ms",
            Self::PeakMemory => "peak MiB",
            Self::Memory => "MiB",
            Self::Instances => "instances",
            Self::Held => "connections held",
        }
    }
}

pub(super) type Reading = BTreeMap<Metric, f64>;

/// The median of some numbers, with the least and the most.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// `None` for no numbers.
    pub(super) fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let (least, most) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            0 => f64::midpoint(numbers[middle - 1], numbers[middle]),
            _ => numbers[middle],
        };
        Some(Self { median, least, most })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least, most] = [self.median, self.least, self.most].map(short);
        write!(f, "{median} ({least} to {most})")
    }
}

/// Three digits that count, or all before the point.
pub(super) fn short(number: f64) -> String {
    let digits = match number.abs() {
        0.0 => 0,
        below if below < 0.1 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::Spread;

    fn text(numbers: &[f64]) -> String {
        Spread::of(numbers.to_vec()).expect("some numbers").to_string()
    }

    #[test]
    fn a_spread_has_the_median_between_its_ends() {
        assert_eq!(text(&[3.0, 1.0, 200.4]), "3.00 (1.00 to 200)");
        assert_eq!(text(&[1.0, 2.0, 3.0, 10.0]), "2.50 (1.00 to 10.0)");
        assert!(Spread::of(Vec::new()).is_none());
    }
}

//! Counts of durations, in fixed buckets.

use std::fmt;
use std::time::Duration;

/// How many durations fell into each of a fixed row of buckets: three to a decade, from 10 µs to
/// 100 s, the same in every pool, so that histograms can be added up.
///
/// ```
/// use millpond_pool_core::Histogram;
/// use std::time::Duration;
///
/// let histogram = Histogram::default();
/// assert_eq!(histogram.count(), 0);
/// assert_eq!(histogram.buckets().next(), Some((Duration::from_micros(10), 0)));
/// assert_eq!(histogram.quantile(0.5), None);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS.len()],
    /// Those above the last bound.
    above: u64,
    sum: Duration,
}

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 22] = [
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

impl Histogram {
    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    /// All of them, added up.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bucket's upper bound, included in it, with the count of all that are not above it: what
    /// Prometheus calls a cumulative histogram. [`count`](Self::count) belongs to the bound of infinity.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut sum = 0;
        BOUNDS.iter().zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (Duration::from_micros(*bound), sum)
        })
    }

    /// The upper bound of the bucket that holds this quantile (0 to 1); [`Duration::MAX`] if it is above
    /// the last bound, `None` of nothing.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * q).ceil() as u64).clamp(1, count);
        let bucket = self.buckets().find(|(_, sum)| *sum >= rank);
        Some(bucket.map_or(Duration::MAX, |(bound, _)| bound))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        // Begun ones count: a bound is the last that its bucket holds.
        let begun = u64::from(time.subsec_nanos().div_ceil(1000));
        let micros = time.as_secs().saturating_mul(1_000_000).saturating_add(begun);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        match self.counts.get_mut(bucket) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
        self.sum = self.sum.saturating_add(time);
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("sum", &self.sum)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for micros in [0, 10, 11, 100_000_000, 100_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let buckets: Vec<_> = histogram.buckets().map(|(_, sum)| sum).collect();
        assert_eq!(buckets[..2], [2, 3]);
        assert_eq!(buckets[20..], [3, 4]);
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum(), Duration::from_micros(200_000_022));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let mut histogram = Histogram::default();
        for micros in [5, 15, 150, 1500] {
            histogram.record(Duration::from_micros(micros));
        }
        let micros = |q| histogram.quantile(q).expect("there are some").as_micros();
        assert_eq!([micros(0.0), micros(0.25), micros(0.5), micros(0.51)], [10, 10, 20, 200]);
        assert_eq!(micros(1.0), 2000);
        histogram.record(Duration::from_secs(1000));
        assert_eq!(histogram.quantile(1.0), Some(Duration::MAX));
    }
}

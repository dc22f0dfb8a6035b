//! How much guests may print.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::stream::Lost;
use crate::log_rate::LogRate;
use crate::sync::lock;

/// Bytes that an instance may print in a second, unless told otherwise: 256 KiB.
pub const DEFAULT_MAX_OUTPUT: u64 = 256 << 10;
/// Seconds' worth that may come at once.
const BURST: u64 = 4;
/// All instances of a pool together may print as much as so many: one that makes new instances prints no more.
const OF_A_POOL: u64 = 16;

/// Says what was cut, now and then.
static SAID: LogRate = LogRate::new(1, Duration::from_secs(10));
static CUT: Cut = Cut { lines: AtomicU64::new(0), bytes: AtomicU64::new(0) };

struct Cut {
    lines: AtomicU64,
    bytes: AtomicU64,
}

/// Returns what guests of this process have printed beyond what they may, which is lost.
pub fn cut_output() -> Lost {
    let (lines, bytes) = (&CUT.lines, &CUT.bytes);
    Lost { lines: lines.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
}

/// So many bytes in a second, and some at once.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    bytes: u64,
    /// When it was that full. `None`: it has never been used.
    at: Option<Instant>,
}

impl Bucket {
    fn new(per_second: u64) -> Self {
        Self {
            per_second,
            level: Mutex::new(Level { bytes: per_second.saturating_mul(BURST), at: None }),
        }
    }

    fn take(&self, bytes: u64, now: Instant) -> bool {
        let mut level = lock(&self.level);
        let since = level.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let more = since.as_nanos().saturating_mul(u128::from(self.per_second)) / 1_000_000_000;
        // Else the time of less than a byte would get lost.
        if more > 0 || level.at.is_none() {
            let most = self.per_second.saturating_mul(BURST);
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            *level = Level { bytes: level.bytes.saturating_add(more).min(most), at: Some(now) };
        }
        let left = level.bytes.checked_sub(bytes);
        level.bytes = left.unwrap_or(level.bytes);
        left.is_some()
    }
}

/// What the instances of a pool may print.
#[derive(Debug)]
pub(super) struct PoolAllowance {
    /// For each. 0: whatever they like.
    each: u64,
    all: Arc<Bucket>,
}

impl PoolAllowance {
    pub(super) fn new(each: u64) -> Self {
        Self { each, all: Arc::new(Bucket::new(each.saturating_mul(OF_A_POOL))) }
    }

    pub(super) fn instance(&self) -> Allowance {
        let limited = self.each > 0;
        Allowance(limited.then(|| (Bucket::new(self.each), Arc::clone(&self.all))))
    }
}

/// What one instance may print.
#[derive(Debug)]
pub(super) struct Allowance(Option<(Bucket, Arc<Bucket>)>);

impl Allowance {
    /// Whether this may be printed. If not, it is counted.
    pub(super) fn take(&self, bytes: &[u8]) -> bool {
        let Some((own, all)) = &self.0 else { return true };
        let (count, now) = (bytes.len() as u64, Instant::now());
        if own.take(count, now) && all.take(count, now) {
            return true;
        }
        let lost = Lost::of(bytes);
        CUT.lines.fetch_add(lost.lines, Ordering::Relaxed);
        CUT.bytes.fetch_add(lost.bytes, Ordering::Relaxed);
        if SAID.allow().is_some() {
            let Lost { lines, bytes } = cut_output();
            tracing::warn!(
                lines,
                bytes,
                "guests print more than they may, and lose what is beyond; so far"
            );
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_much_in_a_second() {
        let bucket = Bucket::new(1000);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!bucket.take(4001, at(0)));
        assert!(bucket.take(4000, at(0)));
        assert!(!bucket.take(1, at(0)));
        assert!(bucket.take(1, at(1)) && !bucket.take(1, at(1)));
        assert!(bucket.take(499, at(500)) && !bucket.take(1, at(500)));
        // Not more than a burst, however long nothing came.
        assert!(!bucket.take(4001, at(1_000_000)) && bucket.take(4000, at(1_000_000)));
    }

    #[test]
    fn short_times_add_up() {
        let bucket = Bucket::new(1000);
        let start = Instant::now();
        assert!(bucket.take(4000, start));
        let taken =
            (1..=10_000_u64).filter(|n| bucket.take(1, start + Duration::from_micros(n * 100)));
        assert_eq!(taken.count(), 1000);
    }

    #[test]
    fn new_instances_print_no_more_than_some() {
        let pool = PoolAllowance::new(1000);
        let before = cut_output();
        let line = [b'\n'; 1000];
        let printed = (0..10_000).filter(|_| pool.instance().take(&line)).count();
        // Some come while the test runs.
        assert!((64..10_000).contains(&printed), "{printed}");
        assert!(cut_output().lines >= before.lines + 1000 * (10_000 - printed as u64));
        assert!(PoolAllowance::new(0).instance().take(&[0; 1 << 20]));
    }
}

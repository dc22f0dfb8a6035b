//! How often a line of one kind is logged.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Lets some lines of a kind into the log, and counts the others.
///
/// What a guest or a client can bring about any number of times is to cost the log no more than this.
#[derive(Debug)]
pub struct LogRate {
    burst: u32,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Lines that have used up what they may.
    used: u32,
    /// Since when; each interval gives one back.
    since: Option<Instant>,
    unlogged: u64,
}

impl LogRate {
    /// Lets through `burst` lines at once, and one in each `interval` then.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        let state = State { used: 0, since: None, unlogged: 0 };
        Self { burst, interval, state: Mutex::new(state) }
    }

    /// Whether a line may be logged now, with the number of those before it that were not.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        let since = *state.since.get_or_insert(now);
        let passed =
            now.saturating_duration_since(since).as_nanos() / self.interval.as_nanos().max(1);
        let back = u32::try_from(passed).unwrap_or(u32::MAX).min(state.used);
        state.used -= back;
        // A part of an interval that has passed counts for the next line, unless none is used.
        let counted = if state.used == 0 { now } else { since + self.interval * back };
        state.since = Some(counted);
        if state.used >= self.burst {
            state.unlogged += 1;
            return None;
        }
        state.used += 1;
        Some(std::mem::take(&mut state.unlogged))
    }
}

/// The number of lines that were not logged as a field of the one that is: none, if there are none.
pub fn unlogged(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_then_one_in_each_interval() {
        let rate = LogRate::new(3, Duration::from_secs(1));
        let start = Instant::now();
        let at = |millis| rate.allow_at(start + Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(1), at(1), at(999)], [Some(0), Some(0), Some(0), None, None]);
        assert_eq!([at(1000), at(1001), at(2500)], [Some(2), None, Some(1)]);
        // The half that had passed counts.
        assert_eq!([at(2999), at(3000)], [None, Some(1)]);
        assert_eq!(
            [at(60_000), at(60_000), at(60_000), at(60_000)],
            [Some(0), Some(0), Some(0), None]
        );
    }
}

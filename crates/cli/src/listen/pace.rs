//! How fast a peer must go: an allowance of time in which it may keep us waiting.
//!
//! Waiting uses the allowance up, and each byte that moves gives some back, at the least rate. So a peer that goes at
//! that rate or faster may go on for ever, one that is slower is over after the grace, and what it did well an hour ago
//! does not count. Time in which nothing waits for the peer costs nothing.
//!
//! A state machine without a clock: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Bytes a second, averaged over `grace`; 0: any.
    pub(crate) rate: u64,
    /// The whole allowance.
    pub(crate) grace: Duration,
    /// The longest wait for a single byte, whatever the rate; `None`: any.
    pub(crate) stall: Option<Duration>,
}

/// What a peer fell short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slow {
    /// Nothing moved for too long.
    Stalled,
    /// Bytes moved, and too few of them.
    Trickles,
}

/// One direction of one body or connection.
#[derive(Debug)]
pub(crate) struct Pace {
    rule: Rule,
    /// The time it may still keep us waiting.
    allowance: Duration,
    /// Since when it does.
    since: Option<Instant>,
    /// It has kept us waiting for longer.
    overdrawn: bool,
}

impl Pace {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, allowance: rule.grace, since: None, overdrawn: false }
    }

    /// We wait for the peer from now on, if we do not already.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Bytes have moved. If we were waiting, that is over; wait again if we still are.
    pub(crate) fn moved(&mut self, now: impl FnOnce() -> Instant, bytes: usize) {
        let since = self.since.take();
        if self.rule.rate == 0 || (since.is_none() && self.allowance == self.rule.grace) {
            return;
        }
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / self.rule.rate;
        let allowance = self.allowance.saturating_add(Duration::from_nanos(nanos));
        let waited = since.map_or(Duration::ZERO, |since| now().saturating_duration_since(since));
        self.overdrawn |= waited > allowance;
        self.allowance = allowance.saturating_sub(waited).min(self.rule.grace);
    }

    /// Whether we wait.
    pub(crate) fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// When the peer will have fallen short, if nothing moves until then.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let since = self.since?;
        let allowance = (self.rule.rate > 0).then_some(self.allowance);
        let least = match (allowance, self.rule.stall) {
            (Some(allowance), Some(stall)) => allowance.min(stall),
            (allowance, stall) => allowance.or(stall)?,
        };
        Some(since + least)
    }

    /// What the peer has fallen short of by now.
    pub(crate) fn verdict(&self, now: Instant) -> Option<Slow> {
        if self.overdrawn {
            return Some(Slow::Trickles);
        }
        let deadline = self.deadline().filter(|deadline| *deadline <= now)?;
        let stalled = |stall| self.since.is_some_and(|since| since + stall <= deadline);
        let nothing = self.rule.stall.is_some_and(stalled) || self.allowance == self.rule.grace;
        Some(if nothing { Slow::Stalled } else { Slow::Trickles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULE: Rule = Rule { rate: 240, grace: Duration::from_secs(30), stall: None };

    /// The seconds until a peer that moves `bytes` each `every` is over, of at most a day.
    fn lasts(rule: Rule, bytes: usize, every: Duration) -> Option<(u64, Slow)> {
        let begin = Instant::now();
        let mut pace = Pace::new(rule);
        let mut now = begin;
        while now < begin + SECOND * 86_400 {
            pace.wait(now);
            if let Some(deadline) = pace.deadline().filter(|deadline| *deadline <= now + every) {
                return Some(((deadline - begin).as_secs(), pace.verdict(deadline)?));
            }
            now += every;
            pace.moved(|| now, bytes);
        }
        None
    }

    #[test]
    fn a_byte_in_six_seconds_is_too_slow() {
        let (seconds, slow) = lasts(RULE, 1, SECOND * 6).unwrap();
        assert_eq!((seconds, slow), (30, Slow::Trickles));
    }

    #[test]
    fn the_least_rate_lasts_for_ever() {
        assert_eq!(lasts(RULE, 240, SECOND), None);
        assert_eq!(lasts(RULE, 240 * 20, SECOND * 20), None);
        let (seconds, _) = lasts(RULE, 230, SECOND).unwrap();
        assert!((600..1000).contains(&seconds), "a little too slow is over late: {seconds}");
    }

    #[test]
    fn silence_ends_at_the_earlier_of_both() {
        assert_eq!(lasts(RULE, 1, SECOND * 3600), Some((30, Slow::Stalled)));
        let rule = Rule { stall: Some(SECOND * 10), ..RULE };
        assert_eq!(lasts(rule, 1_000_000, SECOND * 20), Some((10, Slow::Stalled)));
        assert_eq!(lasts(rule, 1_000_000, SECOND * 9), None);
        let rule = Rule { rate: 0, ..rule };
        assert_eq!(lasts(rule, 1, SECOND * 9), None);
        assert_eq!(lasts(Rule { rate: 0, ..RULE }, 1, SECOND * 3600), None);
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let now = Instant::now();
        let mut pace = Pace::new(RULE);
        pace.wait(now);
        pace.moved(|| now + SECOND, 1 << 40);
        pace.wait(now + SECOND);
        assert_eq!(pace.deadline(), Some(now + SECOND * 31));
    }

    #[test]
    fn who_looks_late_sees_it_too() {
        let mut now = Instant::now();
        let mut pace = Pace::new(RULE);
        for _ in 0..6 {
            pace.wait(now);
            now += SECOND * 5;
            pace.moved(|| now, 5);
            pace.wait(now);
            assert_eq!(pace.verdict(now), None);
        }
        now += SECOND * 5;
        pace.moved(|| now, 5);
        assert_eq!(pace.verdict(now), Some(Slow::Trickles));
    }

    #[test]
    fn time_in_which_nothing_waits_is_free() {
        let now = Instant::now();
        let mut pace = Pace::new(RULE);
        for minute in 0..100 {
            let now = now + SECOND * 60 * minute;
            pace.wait(now);
            pace.moved(|| now, 1);
            assert_eq!((pace.deadline(), pace.verdict(now + SECOND * 59)), (None, None));
        }
    }
}

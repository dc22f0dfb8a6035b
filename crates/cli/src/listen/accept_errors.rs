//! What to do when an accept fails: go on at once if it was that one peer's fault, otherwise pause, and say so now and
//! then. When file descriptors run out, every attempt fails until some connection closes.

use std::io;
use std::time::{Duration, Instant};

/// Long enough not to spin, short enough to go unnoticed.
const PAUSE: Duration = Duration::from_millis(50);

/// At most one log line in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Remembers when it last logged.
#[derive(Debug, Default)]
pub(crate) struct AcceptErrors {
    logged: Option<Instant>,
    /// Failures since then.
    silent: u64,
}

impl AcceptErrors {
    /// Takes note of a failure; returns how long to pause before the next attempt, if at all.
    pub(crate) fn handle(&mut self, error: &io::Error, now: Instant) -> Option<Duration> {
        if is_peers_fault(error) {
            return None;
        }
        if let Some(unlogged) = self.due(now) {
            tracing::error!(unlogged, "cannot accept connections: {error}; trying again");
        }
        Some(PAUSE)
    }

    /// The number of failures left unlogged before this one, if it is time for a line.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let due =
            self.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_INTERVAL);
        if due {
            self.logged = Some(now);
            Some(std::mem::take(&mut self.silent))
        } else {
            self.silent += 1;
            None
        }
    }
}

/// The connection was gone before it was accepted; the next one may be fine.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_fault_neither_pauses_nor_logs() {
        let mut errors = AcceptErrors::default();
        assert_eq!(errors.handle(&io::ErrorKind::ConnectionAborted.into(), Instant::now()), None);
        assert_eq!(errors.logged, None);
    }

    #[cfg(unix)]
    #[test]
    fn exhaustion_pauses_every_time() {
        const EMFILE: i32 = 24;
        let mut errors = AcceptErrors::default();
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(errors.handle(&io::Error::from_raw_os_error(EMFILE), now), Some(PAUSE));
        }
        assert_eq!((errors.logged, errors.silent), (Some(now), 2));
    }

    #[test]
    fn logs_once_a_second_and_counts_the_rest() {
        let mut errors = AcceptErrors::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(errors.due(at(0)), Some(0));
        assert_eq!(errors.due(at(50)), None);
        assert_eq!(errors.due(at(999)), None);
        assert_eq!(errors.due(at(1000)), Some(2));
        assert_eq!(errors.due(at(1001)), None);
    }
}

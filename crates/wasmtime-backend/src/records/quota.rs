//! How much is written into a directory: guests decide how often they trap.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millpond_engine::lock;

/// Records that wait to be written or are being written: each is in memory until then.
const MAX_PENDING: usize = 4;
/// So many at once, and then one in each interval.
const BURST: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(1);

/// Bounds what this process writes into a directory for profiles or core dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordLimits {
    /// Files. Default 100.
    pub max_files: usize,
    /// Bytes of all of them. Default 1 GiB.
    pub max_bytes: u64,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self { max_files: 100, max_bytes: 1 << 30 }
    }
}

/// What has been written into a directory, by whichever pool.
pub(super) struct Quota(Mutex<Used>);

struct Used {
    files: usize,
    bytes: u64,
    pending: usize,
    /// Of the burst, since then.
    recent: u32,
    since: Instant,
}

/// The right to write one file.
pub(super) struct Place {
    quota: Arc<Quota>,
    max_bytes: u64,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Files,
    Bytes,
    /// Too many in this time, or the disk is slow.
    Rate,
}

impl Full {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Files => "there are as many files as may be",
            Self::Bytes => "the files are as large as they may be",
            Self::Rate => "they come faster than they may, or than they can be written",
        }
    }
}

impl Quota {
    /// The one of a directory in this process.
    pub(super) fn of(dir: &Path) -> Arc<Self> {
        static ALL: Mutex<Option<HashMap<PathBuf, Arc<Quota>>>> = Mutex::new(None);
        let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let mut all = lock(&ALL);
        Arc::clone(all.get_or_insert_default().entry(dir).or_default())
    }

    /// A place for one more file.
    pub(super) fn reserve(
        self: &Arc<Self>,
        limits: RecordLimits,
        now: Instant,
    ) -> Result<Place, Full> {
        let mut used = lock(&self.0);
        let passed = now.saturating_duration_since(used.since).as_nanos() / INTERVAL.as_nanos();
        let back = u32::try_from(passed).unwrap_or(u32::MAX);
        used.since = if back >= used.recent { now } else { used.since + INTERVAL * back };
        used.recent = used.recent.saturating_sub(back);
        if used.files + used.pending >= limits.max_files {
            return Err(Full::Files);
        }
        if used.bytes >= limits.max_bytes {
            return Err(Full::Bytes);
        }
        if used.pending >= MAX_PENDING || used.recent >= BURST {
            return Err(Full::Rate);
        }
        used.pending += 1;
        used.recent += 1;
        Ok(Place { quota: Arc::clone(self), max_bytes: limits.max_bytes })
    }
}

impl Default for Quota {
    fn default() -> Self {
        let used = Used { files: 0, bytes: 0, pending: 0, recent: 0, since: Instant::now() };
        Self(Mutex::new(used))
    }
}

impl Place {
    /// Bytes that the file may have.
    pub(super) fn most(&self) -> u64 {
        self.max_bytes.saturating_sub(lock(&self.quota.0).bytes)
    }

    /// It has been written, with so many bytes.
    pub(super) fn written(self, bytes: u64) {
        let mut used = lock(&self.quota.0);
        used.files += 1;
        used.bytes = used.bytes.saturating_add(bytes);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.quota.0).pending -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RecordLimits = RecordLimits { max_files: 30, max_bytes: 1000 };

    fn why(quota: &Arc<Quota>, now: Instant) -> Option<Full> {
        quota.reserve(LIMITS, now).err()
    }

    #[test]
    fn files_are_counted_when_they_are_there() {
        let (quota, now) = (Arc::new(Quota::default()), Instant::now());
        let limits = RecordLimits { max_files: 2, max_bytes: 1000 };
        drop(quota.reserve(limits, now).unwrap());
        quota.reserve(limits, now).unwrap().written(1);
        let pending = quota.reserve(limits, now).unwrap();
        assert_eq!(quota.reserve(limits, now).err(), Some(Full::Files));
        drop(pending);
        quota.reserve(limits, now).unwrap().written(1);
        assert_eq!(quota.reserve(limits, now).err(), Some(Full::Files));
    }

    #[test]
    fn bytes_are_counted() {
        let (quota, now) = (Arc::new(Quota::default()), Instant::now());
        quota.reserve(LIMITS, now).unwrap().written(999);
        let last = quota.reserve(LIMITS, now).unwrap();
        assert_eq!(last.most(), 1);
        last.written(1);
        assert_eq!(why(&quota, now), Some(Full::Bytes));
    }

    #[test]
    fn few_are_in_memory_at_a_time() {
        let (quota, now) = (Arc::new(Quota::default()), Instant::now());
        let mut pending: Vec<_> =
            (0..MAX_PENDING).map(|_| quota.reserve(LIMITS, now).unwrap()).collect();
        assert_eq!(why(&quota, now), Some(Full::Rate));
        pending.pop().unwrap().written(1);
        assert_eq!(why(&quota, now), None);
    }

    #[test]
    fn some_at_once_then_one_in_each_interval() {
        let (quota, now) = (Arc::new(Quota::default()), Instant::now());
        for _ in 0..BURST {
            assert_eq!(why(&quota, now), None);
        }
        assert_eq!(why(&quota, now), Some(Full::Rate));
        let later = now + INTERVAL + INTERVAL / 10;
        assert_eq!((why(&quota, later), why(&quota, later)), (None, Some(Full::Rate)));
        let much_later = now + INTERVAL * 1000;
        for _ in 0..BURST {
            assert_eq!(why(&quota, much_later), None);
        }
        assert_eq!(why(&quota, much_later), Some(Full::Rate));
    }
}

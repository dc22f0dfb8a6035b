//! What every pool takes from the settings, be it the component's or a middleware's.

use std::time::Duration;

use millpond::{Limits, MemoryAccount, MemorySource, MemoryWatch, Output, system_memory};

use crate::config::settings::Settings;
use crate::error::StartError;

impl Settings {
    /// The limits that mean the same for every pool.
    pub(crate) fn set_limits(&self, limits: &mut Limits) {
        let set = |to: &mut Duration, from: Option<Duration>| *to = from.unwrap_or(*to);
        set(&mut limits.queue_timeout, self.queue_timeout);
        set(&mut limits.request_timeout, self.request_timeout);
        set(&mut limits.start_timeout, self.start_timeout);
        limits.max_queue = self.queue.unwrap_or(limits.max_queue);
        set(&mut limits.idle_timeout, self.idle_instance_timeout);
        set(&mut limits.max_age, self.max_instance_age);
    }

    /// What becomes of what guests print.
    pub(crate) fn output(&self) -> Output {
        if self.logging_prefix { Output::Prefixed } else { Output::Plain }
    }

    /// Returns the account that all pools share.
    pub(crate) fn memory_account(&self) -> MemoryAccount {
        let three_quarters = || system_memory().map(|bytes| bytes / 4 * 3);
        let limit = self.max_total_memory.or_else(three_quarters);
        MemoryAccount::new(limit.map_or(usize::MAX, to_usize))
    }

    /// Watches the memory of the process, if it is to have a watermark. The policies of a pool keep it: it watches for
    /// as long as there is a pool.
    pub(crate) fn memory_watch(&self) -> Result<Option<MemoryWatch>, StartError> {
        let Some(bytes) = self.process_memory_watermark else { return Ok(None) };
        let watch = MemoryWatch::new(MemorySource::Process, to_usize(bytes));
        watch
            .map(Some)
            .map_err(|error| StartError::failed(format!("--process-memory-watermark: {error}")))
    }
}

/// Bytes; more than there are addresses is no limit.
pub(crate) fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

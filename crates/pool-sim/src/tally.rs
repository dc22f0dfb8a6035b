//! What was seen: requests by outcome, instances by reason, faults by kind.

use std::collections::BTreeMap;

use millpond_pool_core::{Failure, Refusal};

use crate::record::{Event, Record};

/// Counts by name.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests, by what became of them.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Refusals, by why.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Instances, by the reason for their end.
    pub reasons: BTreeMap<&'static str, u64>,
    /// What was done to the pools, guests and callers.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// All kinds of faults and turns that there are: a run that is long enough has each of them.
    pub const FAULTS: &'static [&'static str] = &[
        "allocator full",
        "allocator resized",
        "assigned to the dead",
        "backpressure",
        "body stalled",
        "broke while idle or not",
        "budget limits changed",
        "body held",
        "budget limits refused",
        "clock jumped",
        "drain verdict",
        "drained early",
        "effect late",
        "exit",
        "hang",
        "head without caller",
        "host panic",
        "last call",
        "last call without end",
        "late report",
        "left a body",
        "left a guest",
        "left a start",
        "left after a timeout",
        "left after the end",
        "left the budget",
        "left the queue",
        "left while pinned",
        "limits changed",
        "long computation",
        "no answer",
        "permit given back",
        "permit held",
        "pinned",
        "pinned without end",
        "policy panicked",
        "post-return without end",
        "reclaimed",
        "retired before its start",
        "returned for no reason",
        "returned from the inbox",
        "room offered",
        "share changed",
        "share refused",
        "signal lowered",
        "signal raised",
        "spin",
        "start fails",
        "start never answers",
        "start slow",
        "start's request returned",
        "stopped",
        "stopped early",
        "store vanished",
        "trap",
    ];

    pub(crate) fn fault(&mut self, name: &'static str) {
        debug_assert!(Self::FAULTS.contains(&name), "{name} is not listed");
        *self.faults.entry(name).or_default() += 1;
    }

    pub(crate) fn record(&mut self, record: &Record) {
        let (counts, name) = match record {
            Record::Reserve(Err(refusal)) | Record::Refuse(_, refusal) => {
                (&mut self.refusals, refusal.as_str())
            }
            Record::Fail(_, _, Failure::StartTimeout) => {
                (&mut self.refusals, Refusal::StartTimeout.as_str())
            }
            Record::Fail(_, _, Failure::RequestTimeout) => (&mut self.outcomes, "timed out"),
            Record::Fail(_, _, Failure::Retired(_)) => (&mut self.outcomes, "lost with instance"),
            Record::Retire(_, reason) => (&mut self.reasons, reason.as_str()),
            Record::Event(_, Event::StartFailed) => (&mut self.reasons, "start failed"),
            Record::Event(_, Event::Exhausted(_)) => (&mut self.reasons, "allocator full"),
            _ => return,
        };
        *counts.entry(name).or_default() += 1;
    }

    /// Each with its title.
    pub(crate) fn tables(&self) -> [(&'static str, &BTreeMap<&'static str, u64>); 4] {
        [
            ("requests", &self.outcomes),
            ("refusals", &self.refusals),
            ("instances", &self.reasons),
            ("faults", &self.faults),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.outcomes, &other.outcomes),
            (&mut self.refusals, &other.refusals),
            (&mut self.reasons, &other.reasons),
            (&mut self.faults, &other.faults),
        ] {
            for (name, count) in theirs {
                *ours.entry(name).or_default() += count;
            }
        }
    }
}

//! The invariants, one file each.
//!
//! Each works from what went in and came out, and from what a pool tells about itself in public.
//! It sees each record with the model as it was before it, and the end of each step: an input and
//! all effects that followed.

mod blast_radius;
mod closing;
mod conservation;
mod counters;
mod exact_limits;
mod fairness;
mod no_hot_loop;
mod no_orphan;
mod pinning;
mod spares;
mod timeouts;

use millpond_pool_core::{Load, Snapshot};

pub(crate) use fairness::BudgetFairness;
pub(crate) use no_hot_loop::NoHotLoop;

use crate::agenda::Time;
use crate::model::Model;
use crate::record::Record;

/// `Err`: how the invariant is violated.
pub(crate) type Checked = Result<(), String>;

pub(crate) trait Check {
    /// The invariant.
    fn name(&self) -> &'static str;

    fn record(&mut self, _model: &Model, _at: Time, _record: &Record) -> Checked {
        Ok(())
    }

    fn step(&mut self, _model: &Model, _step: &Step<'_>) -> Checked {
        Ok(())
    }
}

/// The end of a step.
pub(crate) struct Step<'a> {
    pub(crate) at: Time,
    /// The latest time that any input came with.
    pub(crate) latest: Time,
    pub(crate) input: &'a Record,
    pub(crate) load: Load,
    pub(crate) permits_free: usize,
    pub(crate) timeout: Option<Time>,
    /// Not at each step: it takes longer to count.
    pub(crate) snapshot: Option<&'a Snapshot>,
}

/// All of one pool.
pub(crate) fn all() -> Vec<Box<dyn Check>> {
    vec![
        Box::new(conservation::Conservation),
        Box::new(closing::Closing::default()),
        Box::new(pinning::Pinning::default()),
        Box::new(exact_limits::ExactLimits::default()),
        Box::new(blast_radius::BlastRadius::default()),
        Box::new(timeouts::Timeouts),
        Box::new(spares::SpareLimits::default()),
        Box::new(fairness::PoolFairness),
        Box::new(counters::Counters::default()),
        Box::new(no_orphan::NoOrphan::default()),
    ]
}

/// Fails with a text unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use hold;

/// Fails unless both are the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, theirs: T, ours: T) -> Checked {
    hold!(theirs == ours, "{what}: the pool says {theirs:?}, the model {ours:?}");
    Ok(())
}

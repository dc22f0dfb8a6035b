//! What is measured: how instances are used, and who lives beside.

use std::fmt;

use millpond_pool_core::{Limits, MaxRequests};

/// Seats of a shared instance.
pub const CONCURRENCY: usize = 16;

/// How instances are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One request after another on the same instance.
    Reused,
    /// The same, each with a lease: the guest waits for the host once, between two calls.
    Leased,
    /// An instance is started for each request, and retired after it.
    Fresh,
    /// The same, but started ahead: all that are idle are spares.
    Spare,
    /// Sixteen at a time on one instance: whenever one comes, the oldest ends.
    Shared,
}

/// What the other instances do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing. They could serve too.
    Idle,
    /// All of their seats are taken, by requests that do not move.
    Busy,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// How instances are used.
    pub shape: Shape,
    /// What the others do.
    pub beside: Beside,
    /// How many live: the one that serves, and the others.
    pub instances: usize,
}

impl Case {
    /// The combinations that make a difference: beside idle instances no fresh one is started, and
    /// spares are idle.
    pub const KINDS: [(Shape, Beside); 7] = [
        (Shape::Reused, Beside::Idle),
        (Shape::Reused, Beside::Busy),
        (Shape::Leased, Beside::Idle),
        (Shape::Fresh, Beside::Busy),
        (Shape::Spare, Beside::Idle),
        (Shape::Shared, Beside::Idle),
        (Shape::Shared, Beside::Busy),
    ];

    /// All kinds with one instance (where there is no beside: each shape once), and with so many.
    pub fn compared(instances: usize) -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for (shape, beside) in Self::KINDS {
            if cases.iter().all(|case| case.shape != shape) {
                cases.push(Self { shape, beside, instances: 1 });
            }
            cases.push(Self { shape, beside, instances });
        }
        cases
    }

    /// The limits under which these instances live, and no more, if so many callers submit at once.
    pub fn limits(self, callers: usize) -> Limits {
        let mut limits = Limits::default();
        limits.max_instances = self.instances;
        match self.shape {
            Shape::Reused | Shape::Leased => limits.max_requests = MaxRequests::unlimited(),
            // Beside the others, each caller has its own.
            Shape::Fresh => limits.max_instances += callers - 1,
            Shape::Spare => limits.min_idle = self.instances,
            Shape::Shared => {
                limits.max_requests = MaxRequests::unlimited();
                limits.concurrency = CONCURRENCY;
            }
        }
        limits
    }

    /// Requests to submit so that all instances are there, those to leave on them then, and those that
    /// each caller keeps in flight.
    pub(crate) fn crowd(self) -> Crowd {
        let seats = if self.shape == Shape::Shared { CONCURRENCY } else { 1 };
        let others = (self.instances - 1) * seats;
        let (submitted, left) = match (self.shape, self.beside) {
            // Spares are there without.
            (Shape::Spare, _) => (0, 0),
            (_, Beside::Idle) => (others + seats, 0),
            (_, Beside::Busy) => (others, others),
        };
        Crowd { submitted, left, in_flight: seats - 1 }
    }
}

pub(crate) struct Crowd {
    pub(crate) submitted: usize,
    pub(crate) left: usize,
    pub(crate) in_flight: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, instances, .. } = self;
        match (instances, self.beside) {
            (1, _) => write!(f, "{shape}/1"),
            (_, Beside::Idle) => write!(f, "{shape}/{instances}-idle"),
            (_, Beside::Busy) => write!(f, "{shape}/{instances}-busy"),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reused => "reused",
            Self::Leased => "leased",
            Self::Fresh => "fresh",
            Self::Spare => "spare",
            Self::Shared => "shared",
        })
    }
}

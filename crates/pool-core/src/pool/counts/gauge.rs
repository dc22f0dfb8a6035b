//! Counts of instances by what the pool asks about often; kept up with each change.

use crate::view::Status;

use crate::pool::instance::{Instance, Phase};

/// What an instance is counted as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pool) enum Gauge {
    #[default]
    None,
    /// A spare that is starting, or that takes no requests yet: it is not made a second time.
    ComingSpare,
    /// It waits for its first request.
    Spare,
    /// It has nothing to do, and could serve.
    Idle,
    /// Its store is being dropped.
    Leaving,
}

#[derive(Debug, Default)]
pub(in crate::pool) struct Gauges {
    counts: [usize; 5],
}

impl Gauges {
    pub(in crate::pool) fn coming_spares(&self) -> usize {
        self.counts[Gauge::ComingSpare as usize]
    }

    pub(in crate::pool) fn spares(&self) -> usize {
        self.counts[Gauge::Spare as usize]
    }

    /// Spares included.
    pub(in crate::pool) fn idle(&self) -> usize {
        self.counts[Gauge::Idle as usize] + self.spares()
    }

    pub(in crate::pool) fn leaving(&self) -> usize {
        self.counts[Gauge::Leaving as usize]
    }

    /// Counts the instance as what it is now.
    #[inline]
    pub(in crate::pool) fn recount<H>(&mut self, instance: &mut Instance<H>) {
        let gauge = instance.gauge_now();
        let before = std::mem::replace(&mut instance.gauge, gauge);
        if gauge != before {
            self.change(before, gauge);
        }
    }

    pub(in crate::pool) fn change(&mut self, from: Gauge, to: Gauge) {
        if from != Gauge::None {
            self.counts[from as usize] -= 1;
        }
        if to != Gauge::None {
            self.counts[to as usize] += 1;
        }
    }
}

impl<H> Instance<H> {
    fn gauge_now(&self) -> Gauge {
        match self.phase {
            Phase::Starting if self.spare => Gauge::ComingSpare,
            Phase::Open if self.status == Status::Idle && self.takes_requests() => {
                if self.is_spare() { Gauge::Spare } else { Gauge::Idle }
            }
            Phase::Open if self.is_spare() => Gauge::ComingSpare,
            Phase::Retiring(_) => Gauge::Leaving,
            Phase::Starting | Phase::Open | Phase::Closing(_) => Gauge::None,
        }
    }
}

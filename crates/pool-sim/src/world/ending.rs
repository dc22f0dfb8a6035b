//! From some point on guests and callers behave, and every request ends; then the pools drain, and nothing
//! is left.

use std::time::Duration;

use millpond_pool_core::BudgetLimits;

use super::guests::Deed;
use super::host::{Fate, Life};
use super::{Event, Happens, World, violation};
use crate::agenda::{SECOND, Time};
use crate::record::Record;

/// Within this, every request must have ended.
const PATIENCE: Time = 3600 * SECOND;

impl World {
    /// Guests answer, starts succeed, there is room: every request ends.
    pub(super) fn behave(&mut self) -> Happens {
        self.good = true;
        self.make_room()?;
        for pool in 0..self.sides.len() {
            self.sides[pool].signal.lower();
            self.rouse(pool);
            while !self.sides[pool].permits.is_empty() {
                self.release(pool)?;
            }
            self.wake_guests(pool)?;
        }
        let until = self.now + PATIENCE;
        let waits = |world: &Self| world.sides.iter().any(|side| !side.model.requests.is_empty());
        while waits(self) {
            if self.now > until || !self.next()? {
                return Err(violation("no-orphan", self.left_over()));
            }
        }
        Ok(())
    }

    fn make_room(&mut self) -> Happens {
        for pool in 0..self.sides.len() {
            let side = &self.sides[pool];
            let (mut limits, quota) = (side.model.limits.clone(), side.model.quota);
            limits.max_instances = limits.max_instances.max(1);
            for time in [
                &mut limits.idle_timeout,
                &mut limits.post_return_timeout,
                &mut limits.body_stall_timeout,
            ] {
                *time = (*time).min(Duration::from_secs(60));
            }
            self.allocator(pool).tries.changed();
            let record = Record::Limits(Box::new(limits.clone()), quota);
            self.input(pool, |pool, now| (pool.handle_limits(now, limits), record))?;
        }
        // With a budget, it reclaims what is idle in other pools from a scarce allocator, beyond their
        // guarantees. Without one, nothing is reclaimed.
        let guaranteed = |shares: &[millpond_pool_core::Share]| -> (usize, usize, usize) {
            let count = shares.iter().map(|share| share.guaranteed).sum();
            let bytes = shares.iter().map(|share| share.guaranteed * share.memory).sum();
            (count, bytes, shares.iter().map(|share| share.memory).max().unwrap_or(0))
        };
        let Some(side) = &self.budget else {
            self.allocators.iter_mut().for_each(|allocator| allocator.places = 1000);
            return Ok(());
        };
        let (count, bytes, each) = guaranteed(&side.shares);
        for allocator in &mut self.allocators {
            allocator.places = allocator.places.max(count + 1);
        }
        let mut limits = side.budget.limits();
        limits.max_instances = limits.max_instances.max(count + 1);
        limits = BudgetLimits::instances(limits.max_instances)
            .memory(limits.max_memory.max(bytes + each));
        self.budget_limits(limits)
    }

    /// Those that hang come to themselves; some only if no deadline ends them.
    fn wake_guests(&mut self, pool: usize) -> Happens {
        let ids: Vec<_> = self.sides[pool].hosts.keys().copied().collect();
        for id in ids {
            let side = &mut self.sides[pool];
            let Some(host) = side.hosts.get_mut(&id) else { continue };
            let mut deeds = vec![Deed::Backpressure(false)];
            if std::mem::take(&mut host.stuck) {
                deeds.push(Deed::Quiet);
            }
            let given_up = side.model.instances.get(&id).is_some_and(|i| i.deadline.is_some());
            if host.life == Life::Loading && !(given_up && self.random.chance(500)) {
                deeds.push(Deed::Started);
            }
            for (request_id, run) in &mut host.running {
                if run.answered {
                    deeds.push(Deed::End(*request_id));
                    continue;
                }
                let request = side.model.requests.get(request_id);
                let has_deadline = request.is_some_and(|request| request.deadline.is_some());
                if has_deadline && self.random.chance(500) {
                    continue;
                }
                if run.fate == Fate::Spin {
                    deeds.push(Deed::Settle);
                }
                deeds.push(Deed::Conclude(*request_id));
            }
            for deed in deeds {
                self.plan(0, Event::Guest(pool, id, deed));
            }
        }
        Ok(())
    }

    /// Drains all pools; some are stopped.
    pub(super) fn finish(&mut self) -> Happens {
        for pool in 0..self.sides.len() {
            self.input(pool, |pool, now| (pool.handle_drain(now), Record::Drain))?;
            if self.random.chance(300) {
                self.fault("stopped");
                self.input(pool, |pool, now| (pool.handle_stop(now), Record::Stop))?;
            }
        }
        let until = self.now + PATIENCE;
        while self.next()? {
            if self.now > until {
                return Err(violation("conservation", self.left_over()));
            }
        }
        self.check_empty()
    }

    fn check_empty(&mut self) -> Happens {
        let failed = |what: String| Err(violation("conservation", what));
        for side in &self.sides {
            let end = side.pool.snapshot();
            let waiting = end.queued + end.starting + end.busy + end.pinned;
            let left = waiting + end.streaming + end.abandoned;
            let left = left + end.instances.live() + end.permits_reserved + end.permits_free;
            if !side.pool.is_drained() || left + end.spares > 0 || end.unaccounted() != 0 {
                return failed(format!("the drain has left {end:?}"));
            }
            let outcomes = end.responded + end.failed + end.refused + end.cancelled;
            if outcomes != end.submitted || end.retired.total() != end.starts {
                return failed(format!("what was counted does not add up: {end:?}"));
            }
            if let Some(at) = side.pool.poll_timeout() {
                let at = at.duration_since(self.base);
                return failed(format!("a drained pool wants to look at the clock at {at:?}"));
            }
            *self.tally.outcomes.entry("responded").or_default() += end.responded;
            *self.tally.outcomes.entry("failed").or_default() += end.failed;
            *self.tally.outcomes.entry("refused").or_default() += end.refused;
            *self.tally.outcomes.entry("cancelled").or_default() += end.cancelled;
            *self.tally.outcomes.entry("overloaded").or_default() += end.overloaded;
        }
        let (items, places) = (self.items.get(), self.allocators.iter().map(|a| a.used).sum());
        if (items, places) != (0, 0) {
            return failed(format!("{items} items and {places} places are left"));
        }
        if let Some(used) = self.budget.as_ref().map(|side| side.budget.used())
            && used > 0
        {
            return failed(format!("the budget counts {used} instances of no pool"));
        }
        Ok(())
    }

    fn left_over(&self) -> String {
        let counts = self.sides.iter().enumerate().map(|(pool, side)| {
            let snapshot = side.pool.snapshot();
            let (queued, live) = (snapshot.queued, snapshot.instances);
            let all = side.model.requests.len();
            format!("pool {pool}: {all} requests, {queued} queued, {live:?}")
        });
        format!("what does not end: {}", counts.collect::<Vec<_>>().join("; "))
    }
}

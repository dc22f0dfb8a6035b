//! Those who send requests: in bursts, at random, after lulls; some leave before the end.

use millpond_pool_core::{Refusal, RequestId};

use super::{Event, Happens, World};
use crate::agenda::{MILLI, SECOND};
use crate::item::Item;
use crate::record::Record;

impl World {
    pub(super) fn arrive(&mut self, pool: usize) -> Happens {
        if self.good {
            return Ok(());
        }
        let plan = self.scenario.pools[pool].arrivals;
        let burst = self.random.chance(plan.bursts);
        for _ in 0..if burst { plan.burst } else { 1 } {
            self.attempts += 1;
            self.request(pool)?;
        }
        if self.sides[pool].pool.is_draining() && self.random.chance(100) {
            return Ok(());
        }
        let lull = self.random.chance(plan.lulls);
        let wait = if lull { self.random.spread(SECOND, 40 * SECOND) } else { 0 };
        let next = self.random.poisson(plan.mean);
        self.plan(wait + next, Event::Arrive(pool));
        Ok(())
    }

    fn request(&mut self, pool: usize) -> Happens {
        let permit = self.input(pool, |pool, _| {
            let reserved = pool.handle_reserve();
            let record = Record::Reserve(reserved.as_ref().map(|_| ()).map_err(|r| *r));
            (reserved, record)
        })?;
        match permit {
            Ok(permit) => self.sides[pool].permits.push(permit),
            Err(Refusal::Overloaded) => {
                self.input(pool, |pool, _| (pool.handle_overloaded(), Record::Overloaded))?;
                return Ok(());
            }
            Err(_) => return Ok(()),
        }
        if self.random.chance(30) {
            self.fault("permit held");
            let wait = self.random.spread(MILLI, SECOND);
            self.plan(wait, Event::Spend(pool));
            return Ok(());
        }
        self.submit(pool)
    }

    /// Spends a permit that was held, or gives it back.
    pub(super) fn spend(&mut self, pool: usize) -> Happens {
        if self.good || self.random.chance(400) {
            self.fault("permit given back");
            return self.release(pool);
        }
        self.submit(pool)
    }

    pub(super) fn release(&mut self, pool: usize) -> Happens {
        let Some(permit) = self.sides[pool].permits.pop() else { return Ok(()) };
        self.input(pool, |pool, _| (pool.handle_release(permit), Record::Release))
    }

    fn submit(&mut self, pool: usize) -> Happens {
        let Some(permit) = self.sides[pool].permits.pop() else { return Ok(()) };
        let item = Item::new(&self.items);
        self.submitted += 1;
        self.allocator(pool).tries.reason();
        let request_id = self.input(pool, |pool, now| {
            let request_id = pool.handle_submit(now, permit, item);
            (request_id, Record::Submit(request_id))
        })?;
        if self.random.chance(self.scenario.pools[pool].arrivals.cancelled) {
            let at_once = self.random.chance(100);
            let wait = if at_once { 0 } else { self.random.spread(100_000, 5 * SECOND) };
            self.plan(wait, Event::Leave(pool, request_id));
        }
        Ok(())
    }

    /// The caller of a request leaves: wherever that is by now.
    pub(super) fn leave(&mut self, pool: usize, request_id: RequestId) -> Happens {
        use crate::model::Place;
        let name = match self.sides[pool].model.place(request_id) {
            None => "left after the end",
            Some(Place::Queued) => "left the queue",
            Some(Place::Starting(_)) => "left a start",
            Some(Place::Busy(_)) => "left a guest",
            Some(Place::Pinned(_)) => "left while pinned",
            Some(Place::Streaming(_)) => "left a body",
            Some(Place::Abandoned(_)) => "left after a timeout",
        };
        self.fault(name);
        let item = self.input(pool, |pool, now| {
            let item = pool.handle_cancel(now, request_id);
            let back = item.is_some();
            (item, Record::Cancel(request_id, back))
        })?;
        drop(item);
        Ok(())
    }
}

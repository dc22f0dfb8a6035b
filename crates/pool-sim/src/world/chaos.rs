//! What operators, the host and bad luck do to a running pool.

use millpond_pool_core::{InstanceEvent, Reason};

use super::guests::Deed;
use super::host::Life;
use super::{Event, Happens, World};
use crate::agenda::{MILLI, SECOND};
use crate::record::Record;
use crate::scenario;

impl World {
    pub(super) fn chaos(&mut self) -> Happens {
        if self.good {
            return Ok(());
        }
        let next = self.random.poisson(self.scenario.chaos);
        self.plan(next + 1, Event::Chaos);
        let pool = self.random.index(self.sides.len());
        match self.random.below(100) {
            0..15 => self.change_limits(pool),
            15..30 => self.signal(pool),
            30..34 => self.jump(),
            34..44 => self.draw_budget_limits(),
            44..54 => self.draw_share(pool),
            54..60 => self.change_allocator(pool),
            60..75 => self.instance_event(pool),
            75..80 => self.wake_policies(pool),
            80..90 => self.late_report(pool),
            90..92 => self.early_end(pool),
            _ => self.look_early(pool),
        }
    }

    fn change_limits(&mut self, pool: usize) -> Happens {
        self.fault("limits changed");
        let (limits, quota) = scenario::draw_limits(&mut self.random);
        self.allocator(pool).tries.changed();
        let record = Record::Limits(Box::new(limits.clone()), quota);
        self.input(pool, |pool, now| (pool.handle_limits(now, limits), record))
    }

    fn signal(&mut self, pool: usize) -> Happens {
        let signal = self.sides[pool].signal.clone();
        if signal.is_raised() {
            signal.lower();
            self.fault("signal lowered");
        } else {
            signal.raise();
            self.fault("signal raised");
        }
        self.rouse(pool);
        Ok(())
    }

    /// Policies were woken: the reaper looks.
    pub(super) fn rouse(&mut self, pool: usize) {
        self.sides[pool].look_at = None;
        let now = self.now;
        self.plan_look(pool, Some(now));
    }

    /// The machine slept.
    fn jump(&mut self) -> Happens {
        self.fault("clock jumped");
        self.now += self.random.spread(SECOND, 600 * SECOND);
        Ok(())
    }

    fn change_allocator(&mut self, pool: usize) -> Happens {
        self.fault("allocator resized");
        let allocator = self.scenario.pools[pool].allocator;
        self.allocators[allocator].places = self.random.pick(&[0, 1, 2, 4, 8, 1000]);
        Ok(())
    }

    /// Something happens to a live instance of its own accord.
    fn instance_event(&mut self, pool: usize) -> Happens {
        let hosts = self.sides[pool].hosts.iter();
        let live: Vec<_> = hosts.filter(|(_, h)| h.life == Life::Live).map(|(id, _)| *id).collect();
        if live.is_empty() {
            return Ok(());
        }
        let id = self.random.pick(&live);
        match self.random.below(4) {
            0 => {
                self.fault("drain verdict");
                let why = self.random.pick(&[Reason::Swap, Reason::Age, Reason::Memory]);
                self.report(pool, id, InstanceEvent::Drain(why))
            }
            1 => {
                self.fault("store vanished");
                // What it had goes with it, or comes back before.
                let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
                let inbox = std::mem::take(&mut host.inbox);
                for (request_id, item) in inbox {
                    self.report(pool, id, InstanceEvent::Returned(request_id, item))?;
                }
                self.remove_with_store(pool, id);
                self.report(pool, id, InstanceEvent::Dropped)
            }
            2 => {
                self.fault("backpressure");
                self.report(pool, id, InstanceEvent::Backpressure(true))?;
                let wait = self.random.spread(MILLI, 20 * SECOND);
                self.plan(wait, Event::Guest(pool, id, Deed::Backpressure(false)));
                Ok(())
            }
            _ => {
                self.fault("broke while idle or not");
                if let Some(host) = self.sides[pool].hosts.get_mut(&id) {
                    host.life = Life::Broken;
                }
                self.report(pool, id, InstanceEvent::Broken(Reason::Trap))
            }
        }
    }

    fn wake_policies(&mut self, pool: usize) -> Happens {
        let ids: Vec<_> = self.sides[pool].hosts.keys().copied().collect();
        for id in ids {
            self.input(pool, |pool, _| (pool.handle_policy_wake(id), Record::Wake(id)))?;
        }
        Ok(())
    }

    /// A report that makes no sense any more, or not yet.
    fn late_report(&mut self, pool: usize) -> Happens {
        self.fault("late report");
        let model = &self.sides[pool].model;
        let Some(id) = model.instances.keys().next().copied() else { return Ok(()) };
        let Some(request_id) = model.requests.keys().next().copied() else { return Ok(()) };
        let elsewhere = model.place(request_id).and_then(|place| place.on()) != Some(id);
        match self.random.below(6) {
            0 if elsewhere => self.report(pool, id, InstanceEvent::Failed(request_id)),
            1 if elsewhere => self.report(pool, id, InstanceEvent::Ended(request_id)),
            2 => self.report(pool, id, InstanceEvent::Progress(request_id)),
            3 if elsewhere => self.report(pool, id, InstanceEvent::Pinned(request_id)),
            4 if elsewhere => self.report(pool, id, InstanceEvent::Resumed(request_id)),
            _ => self.report(pool, id, InstanceEvent::Settled),
        }
    }

    /// One of several pools drains, and is stopped when that takes too long.
    fn early_end(&mut self, pool: usize) -> Happens {
        if self.sides.len() < 2 && !self.random.chance(100) {
            return Ok(());
        }
        if self.sides[pool].pool.is_drained() {
            return self.leave_budget(pool);
        }
        if self.sides[pool].pool.is_draining() && self.random.chance(300) {
            self.fault("stopped early");
            return self.input(pool, |pool, now| (pool.handle_stop(now), Record::Stop));
        }
        self.fault("drained early");
        self.input(pool, |pool, now| (pool.handle_drain(now), Record::Drain))
    }

    /// Looking when nothing is due does no harm.
    fn look_early(&mut self, pool: usize) -> Happens {
        self.input(pool, |pool, now| (pool.handle_timeout(now), Record::Timeout))
    }
}

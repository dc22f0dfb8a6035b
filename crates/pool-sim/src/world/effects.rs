//! Carries out what the pools decide: mostly at once, now and then late and in another order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use millpond_pool_core::expiration::{ExpirationContext, Expired, Polled};
use millpond_pool_core::state::Effect;
use millpond_pool_core::{InstanceEvent, InstanceId, Mode, Reason};

use super::guests::Deed;
use super::host::{Host, Life};
use super::{Event, Happens, World};
use crate::agenda::{MICRO, MILLI, SECOND};
use crate::item::Item;
use crate::policy;
use crate::record::{self, Record};

impl World {
    pub(super) fn plan_effect(&mut self, pool: usize, effect: Effect<Item, ()>) {
        match &effect {
            // From here on the driver knows of it.
            Effect::Start { id, mode, .. } => {
                let host = Host { shared: *mode == Mode::Shared, ..Host::default() };
                self.sides[pool].hosts.insert(*id, host);
            }
            Effect::Gone { .. } | Effect::Discard { .. } => return,
            _ => {}
        }
        let wait = self.lateness();
        if wait > 0 {
            self.fault("effect late");
        }
        let event = match effect {
            Effect::Claim(claim) => Event::Claim(pool, claim),
            effect => Event::CarryOut(pool, effect),
        };
        self.plan(wait, event);
    }

    pub(super) fn carry_out(&mut self, pool: usize, effect: Effect<Item, ()>) -> Happens {
        match effect {
            Effect::Start { id, request, .. } => {
                let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
                host.first = request;
                self.start(pool, id)
            }
            Effect::Assign { id, request_id, item, .. } => {
                match self.sides[pool].hosts.get_mut(&id) {
                    Some(host) if host.life == Life::Live && host.shared => {
                        host.inbox.push_back((request_id, item));
                        let wait = self.random.pick(&[0, 0, 0, 100 * MICRO, 2 * MILLI]);
                        self.plan(wait, Event::Guest(pool, id, Deed::Take));
                        Ok(())
                    }
                    Some(host) if host.life == Life::Live => self.begin(pool, id, request_id, item),
                    _ => {
                        self.fault("assigned to the dead");
                        self.report(pool, id, InstanceEvent::Returned(request_id, item))
                    }
                }
            }
            Effect::Retire { id, .. } => self.retire(pool, id),
            Effect::Poll { view, limits, load, asked, revision, .. } => {
                let base = self.instant(self.now);
                let kind = self.scenario.pools[pool].policy;
                let side = &mut self.sides[pool];
                let Some(host) = side.hosts.get_mut(&view.id) else { return Ok(()) };
                if revision < host.revision {
                    return Ok(());
                }
                host.revision = revision;
                let policy = host.policy.get_or_insert_with(|| policy::policy(kind, &side.signal));
                let waker = side.woken.waker(view.id);
                let polled = catch_unwind(AssertUnwindSafe(|| {
                    let cx = ExpirationContext::new(base, &view, &waker);
                    let polled = cx.with_limits(&limits).with_load(load).poll(policy.as_mut());
                    (polled, polled.verdict())
                }));
                let polled = polled.unwrap_or_else(|_| {
                    self.fault("policy panicked");
                    let verdict = Poll::Ready(Expired::Retire(Reason::Host));
                    (Polled::from(verdict), verdict)
                });
                // Drivers may say what is known already.
                if !polled.0.adds_to(asked) && self.random.chance(500) {
                    return Ok(());
                }
                let wait = self.lateness();
                if wait == 0 {
                    return self.verdict(pool, view.id, revision, polled);
                }
                self.plan(wait, Event::Verdict(pool, view.id, revision, polled));
                Ok(())
            }
            // Callers learn what became of their requests.
            _ => Ok(()),
        }
    }

    pub(super) fn verdict(
        &mut self,
        pool: usize,
        id: InstanceId,
        revision: u64,
        (polled, verdict): (Polled, Poll<Expired>),
    ) -> Happens {
        self.input(pool, |pool, now| {
            pool.handle_verdict(now, id, revision, polled);
            ((), Record::Verdict(id, revision, verdict))
        })
    }

    fn start(&mut self, pool: usize, id: InstanceId) -> Happens {
        let side = &mut self.sides[pool];
        let Some(host) = side.hosts.get_mut(&id) else { return Ok(()) };
        host.life = Life::Loading;
        if host.retired {
            self.fault("retired before its start");
            return self.abort_start(pool, id);
        }
        let allocator = &mut self.allocators[self.scenario.pools[pool].allocator];
        let fits = allocator.used < allocator.places;
        let guests = if self.good {
            crate::scenario::Guests::GOOD
        } else {
            self.scenario.pools[pool].guests
        };
        let quick = self.random.spread(10 * MICRO, 5 * MILLI);
        if !fits {
            self.fault("allocator full");
            self.plan(quick, Event::Guest(pool, id, Deed::Exhausted));
            return Ok(());
        }
        allocator.used += 1;
        host.place = true;
        let (wait, deed) = if self.random.chance(guests.silent_start) {
            self.fault("start never answers");
            return Ok(());
        } else if self.random.chance(guests.failed_start) {
            self.fault("start fails");
            (quick, Deed::StartFails)
        } else if self.random.chance(guests.slow_start) {
            self.fault("start slow");
            (self.random.spread(10 * MILLI, 20 * SECOND), Deed::Started)
        } else {
            (quick, Deed::Started)
        };
        self.plan(wait, Event::Guest(pool, id, deed));
        Ok(())
    }

    /// Told to end: stops the guest, then drops the store.
    fn retire(&mut self, pool: usize, id: InstanceId) -> Happens {
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        host.retired = true;
        match host.life {
            Life::Planned => Ok(()),
            Life::Loading => self.abort_start(pool, id),
            Life::Live | Life::Broken => self.drop_store(pool, id),
            Life::Dropping => Ok(()),
        }
    }

    /// A start that is no longer wanted.
    fn abort_start(&mut self, pool: usize, id: InstanceId) -> Happens {
        let gives_back = self.random.chance(700);
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        host.life = Life::Dropping;
        let first = host.first.take();
        if let Some((request_id, item)) = first
            && gives_back
        {
            self.fault("start's request returned");
            self.report(pool, id, InstanceEvent::Returned(request_id, item))?;
        }
        let deed = if self.random.chance(200) { Deed::StartFails } else { Deed::Dropped };
        let wait = self.random.spread(10 * MICRO, 10 * MILLI);
        self.plan(wait, Event::Guest(pool, id, deed));
        Ok(())
    }

    /// What it had goes back or fails, and the store is dropped.
    pub(super) fn drop_store(&mut self, pool: usize, id: InstanceId) -> Happens {
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        host.life = Life::Dropping;
        let inbox = std::mem::take(&mut host.inbox);
        let running: Vec<_> = host.running.keys().copied().collect();
        for (request_id, item) in inbox {
            if self.random.chance(900) {
                self.fault("returned from the inbox");
                self.report(pool, id, InstanceEvent::Returned(request_id, item))?;
            }
        }
        for request_id in running {
            // Some callers are told by the driver, the others by the pool.
            if self.random.chance(500) {
                self.report(pool, id, InstanceEvent::Failed(request_id))?;
            }
        }
        let slow = self.random.chance(50);
        let most = if slow { 5 * SECOND } else { 10 * MILLI };
        let wait = self.random.spread(10 * MICRO, most);
        self.plan(wait, Event::Guest(pool, id, Deed::Dropped));
        Ok(())
    }

    pub(super) fn report(
        &mut self,
        pool: usize,
        id: InstanceId,
        event: InstanceEvent<Item>,
    ) -> Happens {
        let record = Record::Event(id, record::Event::of(&event));
        self.input(pool, |pool, now| (pool.handle_instance(now, id, event), record))
    }
}

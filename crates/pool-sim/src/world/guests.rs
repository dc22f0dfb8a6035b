//! Guests: they answer, trap, exit, hang, stall, work on, and ask for no more.

use millpond_pool_core::{InstanceEvent, InstanceId, Reason, RequestId, Usage};

use super::host::{Fate, Host, Life, Run};
use super::{Event, Happens, World, violation};
use crate::agenda::{MICRO, MILLI, SECOND, Time};
use crate::check::NoHotLoop;
use crate::item::Item;
use crate::record::Record;
use crate::scenario::Guests;

/// What a guest does, or what becomes of its store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Started,
    StartFails,
    Exhausted,
    /// Takes the next from its inbox.
    Take,
    /// Waits, having computed.
    Settle,
    /// Its time with a request is over.
    Conclude(RequestId),
    /// The host makes the next call.
    Resume(RequestId),
    Frame(RequestId),
    /// The host has no more of the body for now.
    Hold(RequestId),
    /// The body has come to its end, and the guest is called once more.
    LastCall(RequestId),
    End(RequestId),
    /// Has nothing more to do, if that is so.
    Quiet,
    Backpressure(bool),
    Dropped,
}

impl World {
    pub(super) fn guest(&mut self, pool: usize, id: InstanceId, deed: Deed) -> Happens {
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        let live = host.life == Life::Live;
        match deed {
            Deed::Started if host.life == Life::Loading => {
                host.life = Life::Live;
                let first = host.first.take();
                self.report(pool, id, InstanceEvent::Started)?;
                first.map_or(Ok(()), |(request_id, item)| self.begin(pool, id, request_id, item))
            }
            Deed::StartFails if matches!(host.life, Life::Loading | Life::Dropping) => {
                self.remove_with_store(pool, id);
                self.report(pool, id, InstanceEvent::StartFailed)
            }
            Deed::Exhausted if host.life == Life::Loading => {
                let request = self.remove(pool, id).and_then(|host| host.first);
                let now = self.now;
                let paced = self.allocator(pool).tries.found_full(now);
                paced.map_err(|what| violation(NoHotLoop::NAME, what))?;
                self.report(pool, id, InstanceEvent::Exhausted { request })
            }
            Deed::Dropped if host.life == Life::Dropping => {
                self.remove_with_store(pool, id);
                self.report(pool, id, InstanceEvent::Dropped)
            }
            Deed::Take if live => self.take(pool, id),
            Deed::Settle if live => self.report(pool, id, InstanceEvent::Settled),
            Deed::Conclude(request_id) if live => self.conclude(pool, id, request_id),
            Deed::Resume(request_id) if live => self.resume(pool, id, request_id),
            Deed::Frame(request_id) if live && host.running.contains_key(&request_id) => {
                self.report(pool, id, InstanceEvent::Progress(request_id))
            }
            Deed::Hold(request_id) if live && host.running.contains_key(&request_id) => {
                self.fault("body held");
                self.report(pool, id, InstanceEvent::Pinned(request_id))
            }
            Deed::LastCall(request_id) if live && host.running.contains_key(&request_id) => {
                self.fault("last call");
                self.last_call(pool, id, request_id)
            }
            Deed::End(request_id) if live && host.running.remove(&request_id).is_some() => {
                self.report(pool, id, InstanceEvent::Ended(request_id))?;
                self.wind_down(pool, id);
                Ok(())
            }
            Deed::Quiet if host.is_done() && !host.stuck => self.quiet(pool, id),
            Deed::Backpressure(on) if live => {
                self.report(pool, id, InstanceEvent::Backpressure(on))
            }
            _ => Ok(()),
        }
    }

    fn manners(&self, pool: usize) -> Guests {
        if self.good { Guests::GOOD } else { self.scenario.pools[pool].guests }
    }

    fn take(&mut self, pool: usize, id: InstanceId) -> Happens {
        let gives_back = !self.good && self.random.chance(10);
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        let Some((request_id, item)) = host.inbox.pop_front() else { return Ok(()) };
        if !gives_back {
            return self.begin(pool, id, request_id, item);
        }
        self.fault("returned for no reason");
        self.report(pool, id, InstanceEvent::Returned(request_id, item))?;
        // Its worker goes on: it waits for the next.
        self.plan(0, Event::Guest(pool, id, Deed::Settle));
        self.wind_down(pool, id);
        Ok(())
    }

    /// A guest gets a request.
    pub(super) fn begin(
        &mut self,
        pool: usize,
        id: InstanceId,
        request_id: RequestId,
        item: Item,
    ) -> Happens {
        let manners = self.manners(pool);
        let fate = self.fate(manners.faults);
        let time = self.random.spread(10 * MICRO, manners.time);
        let settles = self.random.below(time.min(10 * MILLI));
        let pins = if self.random.chance(manners.pins) { self.random.between(1, 3) } else { 0 };
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        let shared = host.shared;
        let run = Run { _item: item, fate, answered: false, pins, pinned: false };
        host.running.insert(request_id, run);
        let settles = match fate {
            Fate::Spin => None,
            Fate::Compute => Some(settles + self.random.spread(10 * MILLI, SECOND)),
            _ => Some(settles),
        };
        if let Some(wait) = settles.filter(|_| shared) {
            self.plan(wait, Event::Guest(pool, id, Deed::Settle));
        }
        if !matches!(fate, Fate::Hang | Fate::Spin) {
            let wait = settles.unwrap_or(0) + time;
            self.plan(wait, Event::Guest(pool, id, Deed::Conclude(request_id)));
        }
        if !self.good && self.random.chance(manners.faults / 2) {
            self.fault("backpressure");
            self.plan(0, Event::Guest(pool, id, Deed::Backpressure(true)));
            let wait = self.random.spread(MILLI, 10 * SECOND);
            self.plan(wait, Event::Guest(pool, id, Deed::Backpressure(false)));
        }
        Ok(())
    }

    fn fate(&mut self, faults: u64) -> Fate {
        if !self.random.chance(faults) {
            return Fate::Answer;
        }
        let (name, fate) = self.random.pick(&[
            ("no answer", Fate::NoAnswer),
            ("trap", Fate::Trap),
            ("exit", Fate::Exit),
            ("host panic", Fate::HostPanic),
            ("hang", Fate::Hang),
            ("spin", Fate::Spin),
            ("long computation", Fate::Compute),
            ("body stalled", Fate::Stall),
            ("post-return without end", Fate::Linger),
        ]);
        self.fault(name);
        fate
    }

    fn conclude(&mut self, pool: usize, id: InstanceId, request_id: RequestId) -> Happens {
        let good = self.good;
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        let Some(run) = host.running.get_mut(&request_id).filter(|run| !run.answered) else {
            return Ok(());
        };
        if run.pins > 0 && !run.pinned {
            return self.pin(pool, id, request_id);
        }
        let fate = if good { Fate::Answer } else { run.fate };
        match fate {
            Fate::NoAnswer => {
                host.running.remove(&request_id);
                self.report(pool, id, InstanceEvent::Failed(request_id))?;
                self.wind_down(pool, id);
                Ok(())
            }
            Fate::Trap => self.breaks(pool, id, request_id, Reason::Trap),
            Fate::Exit => self.breaks(pool, id, request_id, Reason::Exit),
            Fate::HostPanic => self.breaks(pool, id, request_id, Reason::Host),
            _ => self.answer(pool, id, request_id, fate),
        }
    }

    /// One call is over, and the host takes its time before the next.
    fn pin(&mut self, pool: usize, id: InstanceId, request_id: RequestId) -> Happens {
        let manners = self.manners(pool);
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        let Some(run) = host.running.get_mut(&request_id) else { return Ok(()) };
        (run.pins, run.pinned) = (run.pins - 1, true);
        self.fault("pinned");
        self.report(pool, id, InstanceEvent::Pinned(request_id))?;
        if self.random.chance(manners.faults) {
            self.fault("pinned without end");
            let patience = self.random.spread(100 * MILLI, 60 * SECOND);
            self.plan(patience, Event::Leave(pool, request_id));
            return Ok(());
        }
        let most = if self.good { manners.time } else { 2 * SECOND };
        let wait = self.random.spread(10 * MICRO, most);
        self.plan(wait, Event::Guest(pool, id, Deed::Resume(request_id)));
        Ok(())
    }

    fn resume(&mut self, pool: usize, id: InstanceId, request_id: RequestId) -> Happens {
        // Now and then it has nothing more to do, and answers at once.
        let answers = self.random.chance(100);
        let time = self.random.spread(10 * MICRO, self.manners(pool).time);
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        let Some(run) = host.running.get_mut(&request_id) else { return Ok(()) };
        if answers {
            run.pins = 0;
            return self.conclude(pool, id, request_id);
        }
        run.pinned = false;
        self.plan(time, Event::Guest(pool, id, Deed::Conclude(request_id)));
        self.report(pool, id, InstanceEvent::Resumed(request_id))
    }

    fn breaks(
        &mut self,
        pool: usize,
        id: InstanceId,
        request_id: RequestId,
        why: Reason,
    ) -> Happens {
        // The caller may learn of it before the pool does.
        let told = self.random.chance(500);
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        host.life = Life::Broken;
        if told {
            host.running.remove(&request_id);
            self.report(pool, id, InstanceEvent::Failed(request_id))?;
        }
        self.report(pool, id, InstanceEvent::Broken(why))
    }

    fn answer(
        &mut self,
        pool: usize,
        id: InstanceId,
        request_id: RequestId,
        fate: Fate,
    ) -> Happens {
        let waits = self.input(pool, |pool, now| {
            let waits = pool.handle_responded(now, request_id);
            (waits, Record::Responded(request_id, waits))
        })?;
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        host.stuck |= fate == Fate::Linger;
        let Some(run) = host.running.get_mut(&request_id) else { return Ok(()) };
        run.answered = true;
        if !waits {
            host.running.remove(&request_id);
            self.fault("head without caller");
            self.wind_down(pool, id);
            return Ok(());
        }
        if fate == Fate::Stall {
            // Sooner or later the caller has had enough.
            let patience = self.random.spread(100 * MILLI, 60 * SECOND);
            self.plan(patience, Event::Leave(pool, request_id));
            return Ok(());
        }
        let most = self.manners(pool).time;
        let body = self.random.spread(10 * MICRO, most);
        for _ in 0..self.random.below(3) {
            let wait = self.random.below(body);
            self.plan(wait, Event::Guest(pool, id, Deed::Frame(request_id)));
        }
        let last = if self.random.chance(self.manners(pool).pins) {
            let wait = self.random.below(body);
            self.plan(wait, Event::Guest(pool, id, Deed::Hold(request_id)));
            Deed::LastCall(request_id)
        } else {
            Deed::End(request_id)
        };
        self.plan(body, Event::Guest(pool, id, last));
        Ok(())
    }

    fn last_call(&mut self, pool: usize, id: InstanceId, request_id: RequestId) -> Happens {
        let manners = self.manners(pool);
        self.report(pool, id, InstanceEvent::Resumed(request_id))?;
        if !self.good && self.random.chance(manners.faults) {
            self.fault("last call without end");
            return Ok(());
        }
        let time = self.random.spread(10 * MICRO, manners.time);
        self.plan(time, Event::Guest(pool, id, Deed::End(request_id)));
        Ok(())
    }

    /// A request is over: with the last one, the guest has some time to itself.
    pub(super) fn wind_down(&mut self, pool: usize, id: InstanceId) {
        let most = self.manners(pool).time;
        let works = self.random.chance(200);
        let wait: Time = if works { self.random.below(most) } else { 0 };
        self.plan(wait, Event::Guest(pool, id, Deed::Quiet));
    }

    fn quiet(&mut self, pool: usize, id: InstanceId) -> Happens {
        let growth = (self.random.below(4 << 20) as usize, self.random.below(3) as usize);
        let Some(host) = self.sides[pool].hosts.get_mut(&id) else { return Ok(()) };
        host.memory += growth.0;
        host.resources += growth.1;
        let mut usage = Usage::default();
        (usage.memory, usage.resources) = (host.memory, host.resources);
        if self.random.chance(300) {
            self.report(pool, id, InstanceEvent::Usage(usage))?;
        }
        self.report(pool, id, InstanceEvent::Quiet)
    }

    /// The store is gone, and its place in the allocator free.
    pub(super) fn remove_with_store(&mut self, pool: usize, id: InstanceId) {
        self.remove(pool, id);
        // The pool cannot know whether it had a place by then. A budget tells other pools of it, whatever
        // their allocators are.
        self.allocators.iter_mut().for_each(|allocator| allocator.tries.reason());
    }

    fn remove(&mut self, pool: usize, id: InstanceId) -> Option<Host> {
        let host = self.sides[pool].hosts.remove(&id)?;
        if host.place {
            self.allocator(pool).used -= 1;
        }
        Some(host)
    }
}

//! The world around the pools: virtual time, and everything that happens in it.
//!
//! One event after the other is taken from the agenda. Most of them put something into a pool: that is
//! a *step*. Its effects are recorded at once, and carried out later, in whatever order the agenda
//! gives. A run has three parts: requests come and things go wrong; then all behave, and every
//! request must end; then the pools drain, and nothing may be left.

mod budget;
mod callers;
mod chaos;
mod effects;
mod ending;
mod guests;
mod host;
mod side;

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use millpond_pool_core::expiration::{Expired, Polled};
use millpond_pool_core::state::{BudgetEffect, Claim, Effect, Pool};
use millpond_pool_core::{InstanceId, RequestId};

use crate::agenda::{Agenda, Time};
use crate::check::{NoHotLoop, Step};
use crate::item::Item;
use crate::random::Random;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::trace::Trace;

use budget::BudgetSide;
use guests::Deed;
use side::Side;

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

type Happens<T = ()> = Result<T, Violation>;

#[derive(Debug)]
enum Event {
    /// Requests come.
    Arrive(usize),
    /// A permit that was held is spent or given back.
    Spend(usize),
    /// A caller leaves.
    Leave(usize, RequestId),
    CarryOut(usize, Effect<Item, ()>),
    /// What a policy said.
    Verdict(usize, InstanceId, u64, (Polled, Poll<Expired>)),
    /// The reaper looks at the clock, unless another look was planned since.
    Look(usize, u64),
    Guest(usize, InstanceId, Deed),
    /// A pool's message to the budget, and one from it.
    Claim(usize, Claim),
    Budget(usize, BudgetEffect),
    Chaos,
}

pub(crate) struct World {
    random: Random,
    base: Instant,
    pub(crate) now: Time,
    /// The latest time that any pool was told.
    latest: Time,
    agenda: Agenda<Event>,
    sides: Vec<Side>,
    budget: Option<BudgetSide>,
    allocators: Vec<Allocator>,
    scenario: Scenario,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    pub(crate) step: u64,
    pub(crate) submitted: u64,
    attempts: u64,
    /// From some point on guests and callers behave.
    good: bool,
    items: Rc<Cell<usize>>,
}

#[derive(Debug)]
struct Allocator {
    places: usize,
    used: usize,
    tries: NoHotLoop,
}

/// More effects than this from one step, or looks at one instant, are a loop.
const LOOP: usize = 100_000;

impl World {
    pub(crate) fn new(seed: u64, verbose: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::draw(&mut random);
        let mut world = Self {
            base: Instant::now(),
            now: 0,
            latest: 0,
            agenda: Agenda::new(),
            sides: Vec::new(),
            budget: scenario.budget.map(BudgetSide::new),
            allocators: Vec::new(),
            trace: Trace::new(verbose),
            tally: Tally::default(),
            step: 0,
            submitted: 0,
            attempts: 0,
            good: false,
            items: Rc::default(),
            random,
            scenario,
        };
        for (index, places) in world.scenario.allocators.iter().enumerate() {
            let users = world.scenario.pools.iter().filter(|plan| plan.allocator == index);
            let tries = NoHotLoop::new(users.count() as u64);
            world.allocators.push(Allocator { places: *places, used: 0, tries });
        }
        for plan in &world.scenario.pools {
            let seed = world.random.next();
            let member = world.budget.as_mut().map(|budget| budget.join(plan.share));
            world.sides.push(Side::new(plan, seed, member));
        }
        world
    }

    /// The whole run.
    pub(crate) fn run(&mut self) -> Happens {
        for pool in 0..self.sides.len() {
            // Spares are started by the first look.
            self.plan_look(pool, Some(0));
            self.agenda.plan(0, Event::Arrive(pool));
        }
        self.agenda.plan(self.scenario.chaos, Event::Chaos);
        let most = self.scenario.requests;
        while self.submitted < most && self.attempts < 20 * most && !self.all_drain() {
            self.next()?;
        }
        self.behave()?;
        self.finish()
    }

    fn all_drain(&self) -> bool {
        self.sides.iter().all(|side| side.pool.is_draining())
    }

    /// The next event. False: there is none.
    fn next(&mut self) -> Happens<bool> {
        let Some((at, event)) = self.agenda.next() else { return Ok(false) };
        // After a jump of the clock, much is late.
        self.now = self.now.max(at);
        match event {
            Event::Arrive(pool) => self.arrive(pool)?,
            Event::Spend(pool) => self.spend(pool)?,
            Event::Leave(pool, request_id) => self.leave(pool, request_id)?,
            Event::CarryOut(pool, effect) => self.carry_out(pool, effect)?,
            Event::Verdict(pool, id, revision, polled) => {
                self.verdict(pool, id, revision, polled)?
            }
            Event::Look(pool, number) => self.look(pool, number)?,
            Event::Guest(pool, id, deed) => self.guest(pool, id, deed)?,
            Event::Claim(pool, claim) => self.claim(pool, claim)?,
            Event::Budget(pool, effect) => self.budget_effect(pool, effect)?,
            Event::Chaos => self.chaos()?,
        }
        Ok(true)
    }

    fn instant(&self, at: Time) -> Instant {
        self.base + Duration::from_nanos(at)
    }

    /// An input, all that comes out, and the checks.
    fn input<R>(
        &mut self,
        pool: usize,
        act: impl FnOnce(&mut Pool<Item>, Instant) -> (R, Record),
    ) -> Happens<R> {
        let skewed = self.random.chance(self.scenario.skew);
        // Another thread read the clock a little earlier and got the lock a little later.
        let skew = if skewed { self.random.below(200_000) } else { 0 };
        let at = self.now.saturating_sub(skew);
        self.input_at(pool, at, act)
    }

    fn input_at<R>(
        &mut self,
        pool: usize,
        at: Time,
        act: impl FnOnce(&mut Pool<Item>, Instant) -> (R, Record),
    ) -> Happens<R> {
        self.step += 1;
        self.latest = self.latest.max(at);
        let instant = self.instant(at);
        let (result, input) = act(&mut self.sides[pool].pool, instant);
        self.note(pool, at, input.clone())?;
        let mut effects = 0;
        while let Some(effect) = self.sides[pool].pool.poll_effect() {
            self.note(pool, at, Record::of(&effect))?;
            self.plan_effect(pool, effect);
            effects += 1;
            if effects > LOOP {
                return Err(violation("timeouts", "effects without end".into()));
            }
        }
        self.settle(pool, at, &input)?;
        Ok(result)
    }

    /// Shows a record to the checkers, then keeps it in the model.
    fn note(&mut self, pool: usize, at: Time, record: Record) -> Happens {
        let side = &mut self.sides[pool];
        self.trace.record(self.step, at, pool, record.clone());
        self.tally.record(&record);
        for check in &mut side.checks {
            let checked = check.record(&side.model, at, &record);
            checked.map_err(|what| violation(check.name(), what))?;
        }
        side.model.apply(at, &record).map_err(|what| violation("conservation", what))?;
        if let (Record::Start(..), Some(budget)) = (&record, &self.budget) {
            let members = self.sides.iter().filter(|side| side.member.is_some());
            let live: usize = members.map(|side| side.model.live()).sum();
            let cap = budget.fairness.cap();
            if live > cap {
                let what = format!("{live} instances live, and the budget gave {cap}");
                return Err(violation("exact-limits", what));
            }
        }
        Ok(())
    }

    /// The end of a step.
    fn settle(&mut self, pool: usize, at: Time, input: &Record) -> Happens {
        let latest = self.latest;
        let side = &mut self.sides[pool];
        side.model.settled().map_err(|what| violation("conservation", what))?;
        let timeout = side.pool.poll_timeout();
        let timeout = timeout.map(|at| at.duration_since(self.base).as_nanos() as Time);
        let snapshot = side.is_time_to_count().then(|| side.pool.snapshot());
        let step = Step {
            at,
            latest,
            input,
            load: side.pool.load_now(),
            permits_free: side.pool.permits_free(),
            timeout,
            snapshot: snapshot.as_ref(),
        };
        for check in &mut side.checks {
            let checked = check.step(&side.model, &step);
            checked.map_err(|what| violation(check.name(), what))?;
        }
        self.plan_look(pool, timeout);
        Ok(())
    }

    /// The reaper sleeps until then, and now and then too long.
    fn plan_look(&mut self, pool: usize, timeout: Option<Time>) {
        let Some(at) = timeout else { return };
        if self.sides[pool].look_at.is_some_and(|planned| planned <= at) {
            return;
        }
        let at = at.max(self.now) + self.lateness();
        let side = &mut self.sides[pool];
        if side.look_at.is_some_and(|planned| planned <= at) {
            return;
        }
        side.look_at = Some(at);
        side.look += 1;
        self.agenda.plan(at, Event::Look(pool, side.look));
    }

    fn look(&mut self, pool: usize, number: u64) -> Happens {
        if self.sides[pool].look != number {
            return Ok(());
        }
        self.sides[pool].look_at = None;
        let again = self.sides[pool].count_look(self.now);
        if again > LOOP {
            return Err(violation("timeouts", "looks at the clock without end".into()));
        }
        for id in self.sides[pool].woken.take() {
            self.input(pool, |pool, _| (pool.handle_policy_wake(id), Record::Wake(id)))?;
        }
        let now = self.now;
        self.input_at(pool, now, |pool, now| (pool.handle_timeout(now), Record::Timeout))
    }

    /// How late something is: mostly not at all.
    fn lateness(&mut self) -> Time {
        let late = self.random.chance(self.scenario.late);
        if late { self.random.below(self.scenario.lateness) } else { 0 }
    }

    fn allocator(&mut self, pool: usize) -> &mut Allocator {
        &mut self.allocators[self.scenario.pools[pool].allocator]
    }

    fn plan(&mut self, wait: Time, event: Event) {
        self.agenda.plan(self.now + wait, event);
    }

    fn fault(&mut self, name: &'static str) {
        self.tally.fault(name);
    }
}

fn violation(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}

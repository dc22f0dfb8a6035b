//! The asynchronous layer, with a driver whose guests do nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use millpond_pool_core::expiration::{BoxExpiration, boxed, standard};
use millpond_pool_core::{
    Driver, Failure, Instance, InstanceEvent, InstanceId, PoolHandle, Reason, Refusal, RequestId,
    Start, Submitted, Usage,
};

use crate::case::{Case, Shape};
use crate::clock::Clock;

/// Where a request's caller finds which instance has it.
#[derive(Debug, Default)]
pub struct Seat(Mutex<Option<Instance<Host>>>);

impl Seat {
    fn give(&self, instance: Instance<Host>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(instance);
    }

    /// It may have been another caller's report that made room, and that caller who hands over.
    fn wait(&self) -> Instance<Host> {
        loop {
            let given = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(instance) = given {
                return instance;
            }
            std::thread::yield_now();
        }
    }
}

/// Reports at once what a real driver reports later.
#[derive(Debug)]
pub struct Host {
    clock: Clock,
    shared: bool,
}

impl Driver for Host {
    type Item = Arc<Seat>;
    type Slot = ();
    type Runtime = Clock;

    fn runtime(&self) -> &Clock {
        &self.clock
    }

    fn expiration(&self, _: InstanceId) -> BoxExpiration {
        boxed(standard())
    }

    fn start(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, start: Start<Arc<Seat>>) {
        pool.report(instance.id(), InstanceEvent::Started);
        if let Some((_, seat)) = start.request {
            seat.give(instance);
        }
    }

    fn assign(
        &self,
        pool: &PoolHandle<Self>,
        instance: Instance<Self>,
        _: RequestId,
        seat: Arc<Seat>,
    ) {
        let id = instance.id();
        seat.give(instance);
        if self.shared {
            pool.report(id, InstanceEvent::Settled);
        }
    }

    fn refuse(&self, request_id: RequestId, _: Arc<Seat>, refusal: Refusal) {
        panic!("{request_id} is refused: {refusal:?}");
    }

    fn fail(&self, _: Instance<Self>, request_id: RequestId, failure: Failure) {
        panic!("{request_id} fails: {failure:?}");
    }

    fn retire(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, _: Reason) {
        pool.report(instance.id(), InstanceEvent::Dropped);
    }
}

/// A pool with the instances that live beside.
#[derive(Debug)]
pub struct Handled {
    pool: PoolHandle<Host>,
    in_flight: usize,
    leased: bool,
    /// What keeps the others busy.
    left: Vec<Submitted<Host>>,
}

impl Handled {
    /// A pool in which all is as the case says, and its callers.
    pub fn new(case: Case, clock: Clock, callers: usize) -> (Self, Vec<Caller>) {
        let limits = case.limits(callers);
        let host = Host { clock, shared: limits.concurrency > 1 };
        let crowd = case.crowd();
        let pool = PoolHandle::new(host, limits, 0);
        let leased = case.shape == Shape::Leased;
        let mut handled = Self { pool, in_flight: crowd.in_flight, leased, left: Vec::new() };
        // Starts the spares.
        handled.turn();
        let mut first = handled.caller();
        let mut all: Vec<_> = (0..crowd.submitted).map(|_| first.submit()).collect();
        for (on, request) in all.split_off(crowd.left) {
            first.finish(on.id(), request);
            handled.pool.report(on.id(), InstanceEvent::Quiet);
        }
        handled.left = all.into_iter().map(|(_, request)| request).collect();
        let mut callers: Vec<_> = (0..callers).map(|_| handled.caller()).collect();
        for caller in &mut callers {
            caller.enter(handled.in_flight);
        }
        (handled, callers)
    }

    /// Lets the reaper do what is due.
    pub fn turn(&self) {
        self.pool.driver().clock.turn();
    }

    fn caller(&self) -> Caller {
        let pool = self.pool.clone();
        Caller { pool, seat: Arc::default(), leased: self.leased, in_flight: VecDeque::new() }
    }
}

/// Who submits, and plays the guests.
#[derive(Debug)]
pub struct Caller {
    pool: PoolHandle<Host>,
    seat: Arc<Seat>,
    leased: bool,
    in_flight: VecDeque<(Instance<Host>, Submitted<Host>)>,
}

impl Caller {
    /// A request comes; it, or the oldest in flight, runs to its end.
    pub fn request(&mut self) {
        self.enter(1);
        let Some((on, request)) = self.in_flight.pop_front() else { return };
        if self.leased {
            let mut lease = request.lease(on);
            lease.pin();
            lease.resume();
            assert!(lease.release(Usage::default()));
            return;
        }
        let id = on.id();
        self.finish(id, request);
        if self.in_flight.is_empty() {
            let events = [InstanceEvent::Usage(Usage::default()), InstanceEvent::Quiet];
            self.pool.report_all(id, events);
        }
    }

    fn enter(&mut self, requests: usize) {
        for _ in 0..requests {
            let request = self.submit();
            self.in_flight.push_back(request);
        }
    }

    fn submit(&mut self) -> (Instance<Host>, Submitted<Host>) {
        let request = self.pool.try_submit(Arc::clone(&self.seat));
        let request = request.map_err(|(error, _)| error).expect("a place");
        (self.seat.wait(), request)
    }

    /// Head, one frame, end of the body.
    fn finish(&self, id: InstanceId, mut request: Submitted<Host>) {
        assert!(self.pool.responded(request.request_id()));
        request.progress(id);
        request.ended(id);
    }
}

//! The state machine alone, in virtual time.

use std::collections::VecDeque;
use std::hint::black_box;
use std::pin::pin;
use std::task::Waker;
use std::time::{Duration, Instant};

use millpond_pool_core::expiration::{ExpirationContext, standard};
use millpond_pool_core::state::{Effect, Pool};
use millpond_pool_core::{InstanceEvent, InstanceId, Mode, RequestId, Usage};

use crate::case::{Case, Shape};

/// A pool with the instances that live beside, and one caller.
#[derive(Debug)]
pub struct Bare {
    pool: Pool<u64>,
    shape: Shape,
    now: Instant,
    /// The hand-over that the last submission led to.
    handed_over: Option<(InstanceId, RequestId)>,
    in_flight: VecDeque<(InstanceId, RequestId)>,
}

impl Bare {
    /// A pool in which all is as the case says.
    ///
    /// # Panics
    ///
    /// If the pool does not get there.
    pub fn new(case: Case) -> Self {
        let mut bare = Self {
            pool: Pool::new(case.limits(1), 0),
            shape: case.shape,
            now: Instant::now(),
            handed_over: None,
            in_flight: VecDeque::new(),
        };
        // Starts the spares.
        bare.input(|pool, now| pool.handle_timeout(now));
        let crowd = case.crowd();
        let mut all: Vec<_> = (0..crowd.submitted).map(|_| bare.submit()).collect();
        for (id, request_id) in all.split_off(crowd.left) {
            bare.finish(id, request_id);
            bare.report(id, InstanceEvent::Quiet);
        }
        for _ in 0..crowd.in_flight {
            let request = bare.submit();
            bare.in_flight.push_back(request);
        }
        bare.request();
        let live = bare.pool.snapshot().instances.live();
        let own = usize::from(case.shape == Shape::Fresh);
        assert_eq!(live + own, case.instances, "{case}");
        bare
    }

    /// A request comes; it, or the oldest in flight, runs to its end.
    pub fn request(&mut self) {
        let request = self.submit();
        self.in_flight.push_back(request);
        let Some((id, request_id)) = self.in_flight.pop_front() else { return };
        if self.shape == Shape::Leased {
            self.report(id, InstanceEvent::Pinned(request_id));
            self.report(id, InstanceEvent::Resumed(request_id));
        }
        self.finish(id, request_id);
        if self.in_flight.is_empty() {
            self.report(id, InstanceEvent::Usage(Usage::default()));
            self.report(id, InstanceEvent::Quiet);
        }
    }

    fn submit(&mut self) -> (InstanceId, RequestId) {
        let permit = self.pool.handle_reserve().expect("a place");
        let request_id = self.input(|pool, now| pool.handle_submit(now, permit, 0));
        let handed_over = self.handed_over.take().expect("an instance takes it at once");
        assert_eq!(handed_over.1, request_id);
        handed_over
    }

    /// Head, one frame, end of the body.
    fn finish(&mut self, id: InstanceId, request_id: RequestId) {
        let waits = self.input(|pool, now| pool.handle_responded(now, request_id));
        assert!(waits);
        self.report(id, InstanceEvent::Progress(request_id));
        self.report(id, InstanceEvent::Ended(request_id));
    }

    fn report(&mut self, id: InstanceId, event: InstanceEvent<u64>) {
        self.input(|pool, now| pool.handle_instance(now, id, event));
    }

    /// One input, and all that the documentation of [`Pool`] asks for after it.
    fn input<R>(&mut self, input: impl FnOnce(&mut Pool<u64>, Instant) -> R) -> R {
        self.now += Duration::from_micros(1);
        let result = input(&mut self.pool, self.now);
        self.carry_out();
        if black_box(self.pool.poll_timeout()).is_some_and(|at| at <= self.now) {
            self.pool.handle_timeout(self.now);
            self.carry_out();
        }
        result
    }

    fn carry_out(&mut self) {
        let now = self.now;
        while let Some(effect) = self.pool.poll_effect() {
            match effect {
                Effect::Start { id, request, .. } => {
                    if let Some((request_id, item)) = request {
                        black_box(item);
                        self.handed_over = Some((id, request_id));
                    }
                    self.pool.handle_instance(now, id, InstanceEvent::Started);
                }
                Effect::Assign { id, request_id, item, .. } => {
                    black_box(item);
                    self.handed_over = Some((id, request_id));
                    if self.shape.mode() == Mode::Shared {
                        self.pool.handle_instance(now, id, InstanceEvent::Settled);
                    }
                }
                Effect::Retire { id, .. } => {
                    self.pool.handle_instance(now, id, InstanceEvent::Dropped);
                }
                Effect::Poll { view, limits, load, asked, revision, .. } => {
                    let cx = ExpirationContext::new(now, &view, Waker::noop());
                    let polled = cx.with_limits(&limits).with_load(load).poll(pin!(standard()));
                    if polled.adds_to(asked) {
                        self.pool.handle_verdict(now, view.id, revision, polled);
                    }
                }
                Effect::Gone { .. } => {}
                other => panic!("not of a pool in which nothing goes wrong: {other:?}"),
            }
        }
    }
}

impl Shape {
    pub(crate) fn mode(self) -> Mode {
        if self == Self::Shared { Mode::Shared } else { Mode::Exclusive }
    }
}

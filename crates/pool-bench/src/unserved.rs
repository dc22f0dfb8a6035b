//! The state machine alone, where no request is served: what happens then must be cheap too.

use std::hint::black_box;
use std::time::{Duration, Instant};

use millpond_pool_core::state::{Effect, Pool};
use millpond_pool_core::{InstanceEvent, InstanceId, Limits, RequestId, Usage};

use crate::case::{Beside, Case, Shape};

/// A pool that hands nothing over.
#[derive(Debug)]
pub struct Unserved {
    pool: Pool<()>,
    now: Instant,
    started: Vec<InstanceId>,
    memory: usize,
}

impl Unserved {
    /// Makes a pool whose instances are all starting, without a request.
    pub fn starting(instances: usize) -> Self {
        let mut unserved = Self::new(limits(Shape::Spare, instances));
        unserved.input(|pool, now| pool.handle_timeout(now));
        assert_eq!(unserved.started.len(), instances);
        unserved
    }

    /// All instances are busy, and the pool drains.
    pub fn draining(instances: usize) -> Self {
        let mut unserved = Self::new(limits(Shape::Reused, instances));
        for _ in 0..instances {
            unserved.submit();
        }
        for id in unserved.started.clone() {
            unserved.input(|pool, now| pool.handle_instance(now, id, InstanceEvent::Started));
        }
        assert_eq!(unserved.pool.snapshot().busy, instances);
        unserved.input(|pool, now| pool.handle_drain(now));
        unserved
    }

    fn new(limits: Limits) -> Self {
        let pool = Pool::new(limits, 0);
        Self { pool, now: Instant::now(), started: Vec::new(), memory: 0 }
    }

    /// A request comes, finds that it has to wait, and goes.
    pub fn come_and_go(&mut self) {
        let request_id = self.submit();
        let item = self.input(|pool, now| pool.handle_cancel(now, request_id));
        assert!(item.is_some(), "it waited");
    }

    /// An instance reports.
    pub fn report(&mut self) {
        self.memory += 1;
        let mut usage = Usage::default();
        usage.memory = self.memory;
        let id = self.started[0];
        self.input(|pool, now| pool.handle_instance(now, id, InstanceEvent::Usage(usage)));
    }

    fn submit(&mut self) -> RequestId {
        let permit = self.pool.handle_reserve().expect("a place");
        self.input(|pool, now| pool.handle_submit(now, permit, ()))
    }

    fn input<R>(&mut self, input: impl FnOnce(&mut Pool<()>, Instant) -> R) -> R {
        self.now += Duration::from_micros(1);
        let result = input(&mut self.pool, self.now);
        while let Some(effect) = self.pool.poll_effect() {
            match black_box(effect) {
                Effect::Start { id, .. } => self.started.push(id),
                Effect::Poll { .. } => {}
                other => panic!("not of a pool that hands nothing over: {other:?}"),
            }
        }
        black_box(self.pool.poll_timeout());
        result
    }
}

fn limits(shape: Shape, instances: usize) -> Limits {
    let mut limits = Case { shape, beside: Beside::Busy, instances }.limits(1);
    limits.max_queue = limits.max_queue.max(1);
    limits
}

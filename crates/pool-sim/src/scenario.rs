//! What a run is about: pools, limits, guests and faults, drawn from its seed.

use std::time::Duration;

use millpond_pool_core::{BudgetLimits, Limits, MaxRequests, Share};

use crate::agenda::{MICRO, MILLI, SECOND, Time};
use crate::random::Random;
use crate::record::Spread;

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) pools: Vec<PoolPlan>,
    pub(crate) budget: Option<BudgetLimits>,
    /// Places of the allocators; pools name theirs by index.
    pub(crate) allocators: Vec<usize>,
    /// Requests of all pools together.
    pub(crate) requests: u64,
    /// Times in a thousand that something is late, and how late at most.
    pub(crate) late: u64,
    pub(crate) lateness: Time,
    /// Between two changes from outside, on average.
    pub(crate) chaos: Time,
    /// Times in a thousand that a time lies a little before the last.
    pub(crate) skew: u64,
}

#[derive(Debug)]
pub(crate) struct PoolPlan {
    pub(crate) limits: Limits,
    pub(crate) quota: Spread,
    pub(crate) share: Share,
    pub(crate) allocator: usize,
    pub(crate) policy: u64,
    pub(crate) arrivals: Arrivals,
    pub(crate) guests: Guests,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) mean: Time,
    /// Requests of a burst, and how many times in a thousand an arrival is one.
    pub(crate) burst: u64,
    pub(crate) bursts: u64,
    /// Times in a thousand that nothing comes for a while.
    pub(crate) lulls: u64,
    /// Times in a thousand that the caller leaves.
    pub(crate) cancelled: u64,
}

/// How guests behave: times in a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guests {
    pub(crate) faults: u64,
    pub(crate) slow_start: u64,
    pub(crate) failed_start: u64,
    pub(crate) silent_start: u64,
    /// Requests of several calls, between which the guest waits for the host.
    pub(crate) pins: u64,
    /// How long an answer takes, at most.
    pub(crate) time: Time,
}

impl Guests {
    pub(crate) const GOOD: Self = Self {
        faults: 0,
        slow_start: 0,
        failed_start: 0,
        silent_start: 0,
        pins: 100,
        time: 20 * MILLI,
    };
}

impl Scenario {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let pools = random.between(1, 4) as usize;
        let with_budget = random.chance(500);
        // How rough it is: faults are rare in some, the rule in others.
        let rough = random.pick(&[0, 5, 20, 60, 200]);
        let shared_allocator = random.chance(500);
        let scarce = random.chance(400);
        let count = if shared_allocator { 1 } else { pools };
        let places =
            |random: &mut Random| if scarce { random.between(1, 8) as usize } else { 1000 };
        let allocators = (0..count).map(|_| places(random)).collect();
        let plans = (0..pools)
            .map(|index| {
                let (limits, quota) = draw_limits(random);
                PoolPlan {
                    limits,
                    quota,
                    share: if with_budget { draw_share(random) } else { Share::default() },
                    allocator: if shared_allocator { 0 } else { index },
                    policy: random.below(8),
                    arrivals: draw_arrivals(random),
                    guests: draw_guests(random, rough),
                }
            })
            .collect::<Vec<_>>();
        let shares = plans.iter().map(|plan| plan.share).collect::<Vec<_>>();
        Self {
            budget: with_budget.then(|| draw_budget(random, &shares)),
            pools: plans,
            allocators,
            requests: random.between(200, 3000),
            late: random.pick(&[0, 20, 200, 600]),
            lateness: random.pick(&[50 * MICRO, MILLI, 20 * MILLI, 300 * MILLI]),
            chaos: random.pick(&[50 * MILLI, 500 * MILLI, 5 * SECOND, 100 * SECOND]),
            skew: random.pick(&[0, 20, 100]),
        }
    }
}

pub(crate) fn draw_limits(random: &mut Random) -> (Limits, Spread) {
    let mut limits = Limits::default();
    limits.max_instances = random.pick(&[1, 1, 2, 3, 4, 8, 16, 40]);
    if random.chance(20) {
        limits.max_instances = 0;
    }
    limits.max_queue = random.pick(&[0, 1, 4, 16, 64, 256]);
    limits.concurrency = random.pick(&[1, 1, 2, 4, 16]);
    limits.max_running = random.chance(200).then(|| random.between(1, 24) as usize);
    limits.min_idle = random.pick(&[0, 0, 1, 2, 5]);
    let time = |random: &mut Random, low, high| match random.below(20) {
        0 => Duration::MAX,
        1 => Duration::ZERO,
        _ => Duration::from_nanos(random.spread(low, high)),
    };
    limits.queue_timeout = time(random, 10 * MILLI, 20 * SECOND);
    limits.start_timeout = time(random, 5 * MILLI, 10 * SECOND);
    limits.request_timeout = time(random, 20 * MILLI, 30 * SECOND);
    limits.settle_time = time(random, MILLI, 20 * MILLI);
    limits.idle_timeout = time(random, 5 * MILLI, 20 * SECOND);
    limits.post_return_timeout = time(random, 10 * MILLI, 20 * SECOND);
    limits.body_stall_timeout = time(random, 10 * MILLI, 20 * SECOND);
    limits.max_age =
        if random.chance(500) { Duration::MAX } else { time(random, SECOND, 99 * SECOND) };
    let quota = match random.below(4) {
        0 => Spread { most: Some(1), shorten: 0.0 },
        1 => Spread { most: None, shorten: 0.0 },
        2 => Spread { most: Some(random.between(2, 30)), shorten: 0.0 },
        _ => Spread { most: Some(random.between(2, 30)), shorten: random.pick(&[0.25, 0.5, 1.0]) },
    };
    let most = quota.most.map_or(MaxRequests::unlimited(), MaxRequests::exactly);
    limits.max_requests = most.shortened_by(quota.shorten);
    (limits, quota)
}

pub(crate) fn draw_share(random: &mut Random) -> Share {
    let mut share = Share::default();
    share.weight = random.below(4) as u32;
    share.guaranteed = random.pick(&[0, 0, 1, 2, 4]);
    share.memory = random.pick(&[0, 1, 2, 5]);
    share
}

/// Enough for the guarantees, and a little more.
pub(crate) fn draw_budget(random: &mut Random, shares: &[Share]) -> BudgetLimits {
    let instances: usize = shares.iter().map(|share| share.guaranteed).sum();
    let memory: usize = shares.iter().map(|share| share.guaranteed * share.memory).sum();
    let limits = BudgetLimits::instances(instances + random.pick(&[0, 1, 2, 4, 8, 30]));
    if random.chance(300) { limits.memory(memory + random.between(5, 40) as usize) } else { limits }
}

fn draw_arrivals(random: &mut Random) -> Arrivals {
    Arrivals {
        mean: random.spread(200 * MICRO, 200 * MILLI),
        burst: random.between(2, 120),
        bursts: random.pick(&[0, 5, 30]),
        lulls: random.pick(&[0, 5, 20]),
        cancelled: random.pick(&[0, 20, 150, 400]),
    }
}

fn draw_guests(random: &mut Random, rough: u64) -> Guests {
    let rate = |random: &mut Random| if random.chance(500) { rough } else { rough / 4 };
    Guests {
        faults: rate(random),
        slow_start: rate(random),
        failed_start: if random.chance(30) { 900 } else { rate(random) },
        silent_start: rate(random) / 2,
        pins: random.pick(&[0, 0, 50, 500]),
        time: random.spread(MILLI, 400 * MILLI),
    }
}

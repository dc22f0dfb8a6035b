//! Random lives of a pool: see [`life`](crate::common::life).

use std::time::Duration;

use crate::common::life::{self, Step};
use crate::common::{NEVER, Rig};
use millpond_pool_core::{Limits, MaxRequests};
use proptest::collection::vec;
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let n = any::<usize>;
    prop_oneof![
        12 => Just(Submit),
        2 => Just(Reserve),
        1 => Just(Release),
        2 => Just(SubmitReserved),
        4 => n().prop_map(Cancel),
        8 => n().prop_map(Start),
        2 => n().prop_map(FailStart),
        2 => n().prop_map(Exhaust),
        10 => n().prop_map(Settle),
        1 => (n(), any::<bool>()).prop_map(|(n, on)| Backpressure(n, on)),
        10 => n().prop_map(Respond),
        5 => n().prop_map(Pin),
        4 => n().prop_map(Resume),
        1 => n().prop_map(Progress),
        8 => n().prop_map(End),
        3 => n().prop_map(Fail),
        3 => n().prop_map(Return),
        8 => n().prop_map(Quiet),
        1 => n().prop_map(Close),
        2 => n().prop_map(Break),
        6 => n().prop_map(Drop),
        3 => (0..10u64).prop_map(Pass),
        2 => (0..4000u64).prop_map(Pass),
        1 => (0..50_000u64).prop_map(Jump),
        1 => n().prop_map(Limits),
        1 => (n(), any::<bool>()).prop_map(|(n, drain)| Verdict(n, drain)),
        1 => (n(), 0..2000u64).prop_map(|(n, ms)| WakeAt(n, ms)),
        1 => n().prop_map(StaleVerdict),
        3 => (n(), 0..8u8).prop_map(|(n, what)| Late(n, what)),
        1 => (n(), 0..100usize).prop_map(|(n, held)| Usage(n, held)),
        6 => Just(Grant),
        2 => Just(Reclaim),
        1 => Just(Room),
    ]
}

/// A drain or a stop happens at most once, late.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end =
        prop_oneof![2 => Just(None), 1 => Just(Some(Step::Drain)), 1 => Just(Some(Step::Stop))];
    (vec(step(), 0..200), end, vec(step(), 0..40)).prop_map(|(mut steps, end, after)| {
        steps.extend(end);
        steps.extend(after);
        steps
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let max_requests = prop_oneof![
        Just(MaxRequests::unlimited()),
        (1..6u64).prop_map(MaxRequests::exactly),
        (2..9u64).prop_map(|most| MaxRequests::exactly(most).shortened_by(0.5)),
    ];
    let times = prop_oneof![
        4 => (100..5000u64).prop_map(Duration::from_millis),
        1 => Just(Duration::ZERO),
        1 => Just(NEVER),
    ];
    let counts = (0..5usize, 0..8usize, 1..5usize, proptest::option::weighted(0.3, 0..6usize));
    let timeouts = (times.clone(), times.clone(), times, prop_oneof![0..10u64, Just(u64::MAX)]);
    let min_idle = prop_oneof![2 => Just(0), 3 => 1..4usize, 1 => 4..9usize];
    let all = (counts, max_requests, timeouts, min_idle);
    all.prop_map(|(counts, max_requests, timeouts, min_idle)| {
        let mut limits = Limits::default();
        (limits.max_instances, limits.max_queue, limits.concurrency, limits.max_running) = counts;
        (limits.queue_timeout, limits.start_timeout, limits.request_timeout, _) = timeouts;
        limits.settle_time = Duration::from_millis(timeouts.3);
        limits.max_requests = max_requests;
        limits.min_idle = min_idle;
        limits
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_keeps_its_promises(
        limits in vec(limits(), 1..4),
        seed: u64,
        budgeted: bool,
        steps in steps(),
    ) {
        let mut rig = Rig::seeded(limits[0].clone(), seed);
        if budgeted {
            rig = rig.budgeted();
        }
        rig.hold_verdicts = true;
        for step in steps {
            life::take(&mut rig, step, &limits);
        }
        life::finish(&mut rig);
        life::check_end(&rig);
    }
}

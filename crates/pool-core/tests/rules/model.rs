//! Random lives of a pool. After each step the rig compares the pool with its ledger, so each
//! request has exactly one outcome, no limit is exceeded, no closed instance is given a request,
//! and nobody waits in vain; at the end everything finishes and nothing is left.

use std::task::Poll;
use std::time::Duration;

use crate::common::ledger::Place;
use crate::common::{NEVER, Rig};
use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{Limits, MaxRequests, Reason};
use proptest::collection::vec;
use proptest::prelude::*;

/// One step: what to do, and a number that says with which of those it can be done.
#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve,
    Release,
    SubmitReserved,
    Submit,
    Cancel(usize),
    Start(usize),
    FailStart(usize),
    Exhaust(usize),
    Settle(usize),
    Backpressure(usize, bool),
    Respond(usize),
    Pin(usize),
    Resume(usize),
    Progress(usize),
    End(usize),
    Fail(usize),
    Return(usize),
    Quiet(usize),
    Close(usize),
    Break(usize),
    Drop(usize),
    /// Milliseconds; looks at the clock when asked to.
    Pass(u64),
    /// Milliseconds; looks at the clock once, late.
    Jump(u64),
    Limits(usize),
    Verdict(usize, bool),
    WakeAt(usize, u64),
    StaleVerdict(usize),
    /// A late report on a request or an instance that is long gone.
    Late(usize, u8),
    Usage(usize, usize),
    /// From the budget, asked for or not.
    Grant,
    Reclaim,
    Room,
    Drain,
    Stop,
}

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

fn pick<T: Copy>(from: &[T], n: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[n % from.len()])
}

/// Requests for which this holds.
fn requests(rig: &Rig, holds: impl Fn(&Rig, Place) -> bool) -> Vec<u64> {
    let all = rig.ledger.requests.iter().filter(|(_, request)| holds(rig, request.place));
    all.map(|(number, _)| *number).collect()
}

/// Live instances, by whether their start was reported.
fn instances(rig: &Rig, loaded: bool) -> Vec<u64> {
    let all = rig.ledger.instances.iter().filter(|(_, instance)| instance.loaded == loaded);
    all.map(|(number, _)| *number).collect()
}

/// A guest can have seen it.
fn seen(rig: &Rig, place: Place) -> bool {
    place.on().is_some_and(|on| rig.ledger.instances[&on].loaded)
}

fn take(rig: &mut Rig, step: Step, limits: &[Limits]) -> Option<()> {
    let (loading, loaded) = (instances(rig, false), instances(rig, true));
    let all: Vec<u64> = rig.ledger.instances.keys().copied().collect();
    match step {
        Step::Reserve => drop(rig.reserve()),
        Step::Release => (rig.ledger.reserved > 0).then(|| rig.release())?,
        Step::SubmitReserved => drop((rig.ledger.reserved > 0).then(|| rig.submit_reserved())?),
        Step::Submit => drop(rig.reserve().is_ok().then(|| rig.submit_reserved())?),
        Step::Cancel(n) => drop(rig.cancel(pick(&requests(rig, |_, _| true), n)?)),
        Step::Start(n) => rig.started(pick(&loading, n)?),
        Step::FailStart(n) => rig.start_failed(pick(&loading, n)?),
        Step::Exhaust(n) => rig.exhausted(pick(&loading, n)?),
        Step::Settle(n) => rig.settled(pick(&loaded, n)?),
        Step::Backpressure(n, on) => rig.backpressure(pick(&loaded, n)?, on),
        Step::Respond(n) => drop(rig.responded(pick(&requests(rig, seen), n)?)),
        Step::Pin(n) => rig.pin(pick(&requests(rig, seen), n)?),
        Step::Resume(n) => rig.resume(pick(&requests(rig, seen), n)?),
        Step::Progress(n) => rig.progress(pick(&requests(rig, seen), n)?),
        Step::End(n) => {
            rig.ended(pick(&requests(rig, |_, place| matches!(place, Place::Streaming(_))), n)?);
        }
        Step::Fail(n) => rig.failed(pick(&requests(rig, |_, place| place.on().is_some()), n)?),
        Step::Return(n) => {
            let unseen = |_: &Rig, place| {
                matches!(place, Place::Starting(_) | Place::Busy(_) | Place::Left { .. })
            };
            rig.returned(pick(&requests(rig, unseen), n)?);
        }
        Step::Quiet(n) => rig.quiet(pick(&loaded, n)?),
        Step::Close(n) => rig.close(pick(&all, n)?, Reason::Swap),
        Step::Break(n) => rig.broken(pick(&all, n)?, Reason::Trap),
        Step::Drop(n) => {
            let retiring = |number: &u64| rig.ledger.instances[number].retiring;
            // Now and then a store vanishes that nobody asked to end.
            let retiring: Vec<u64> =
                all.into_iter().filter(|i| n % 8 == 0 || retiring(i)).collect();
            rig.dropped(pick(&retiring, n)?);
        }
        Step::Pass(ms) => rig.at(rig.elapsed() + Duration::from_millis(ms)),
        Step::Jump(ms) => rig.jump(rig.elapsed() + Duration::from_millis(ms)),
        Step::Limits(n) => rig.set_limits(limits[n % limits.len()].clone()),
        Step::Verdict(n, drain) => {
            let verdict = if drain { Expired::Drain } else { Expired::Retire };
            let open = |number: &u64| rig.ledger.instances[number].open;
            let live: Vec<u64> = all.into_iter().filter(open).collect();
            let live: Vec<u64> =
                live.into_iter().filter(|number| !rig.ledger.instances[number].retiring).collect();
            rig.verdict(pick(&live, n)?, Poll::Ready(verdict(Reason::Memory)), None);
        }
        Step::WakeAt(n, ms) => {
            let at = rig.elapsed() + Duration::from_millis(ms);
            let polled: Vec<(u64, u64)> =
                rig.polls.iter().map(|polled| (polled.view.id.number(), polled.revision)).collect();
            let (instance, revision) = pick(&polled, n)?;
            rig.raw_verdict(instance, revision, Poll::Pending, Some(at));
        }
        Step::StaleVerdict(n) => {
            let stale = |at: &usize| {
                let polled = &rig.polls[*at];
                rig.newest_poll(polled.view.id.number()).revision != polled.revision
            };
            let stale: Vec<usize> = (0..rig.polls.len()).filter(stale).collect();
            let polled = &rig.polls[pick(&stale, n)?];
            let (instance, revision) = (polled.view.id.number(), polled.revision);
            let retire = Poll::Ready(Expired::Retire(Reason::Host));
            let before = rig.pool.snapshot();
            rig.raw_verdict(instance, revision, retire, None);
            assert_eq!(rig.pool.snapshot(), before, "a verdict on an older view counted");
        }
        Step::Late(n, what) => late(rig, n, what)?,
        Step::Usage(n, held) => rig.usage(pick(&loaded, n)?, held << 20, held),
        Step::Grant => rig.ledger.account.is_some().then(|| rig.grant())?,
        Step::Reclaim => rig.ledger.account.is_some().then(|| rig.reclaim())?,
        Step::Room => rig.room(),
        Step::Drain => rig.drain(),
        Step::Stop => rig.stop(),
    }
    Some(())
}

/// What is over stays as it is.
fn late(rig: &mut Rig, n: usize, what: u8) -> Option<()> {
    let over = pick(&requests(rig, |_, place| place == Place::Over), n)?;
    let before = rig.pool.snapshot();
    match what {
        0 => drop(rig.cancel(over)),
        1 => assert!(!rig.responded(over)),
        2 => rig.ended(over),
        3 => rig.failed(over),
        4 => rig.progress(over),
        5 => rig.pin(over),
        6 => rig.resume(over),
        _ => {
            let live = |number: &u64| rig.ledger.instances.contains_key(number);
            let gone: Vec<u64> = (1..=before.starts).filter(|number| !live(number)).collect();
            let gone = pick(&gone, n)?;
            rig.settled(gone);
            rig.quiet(gone);
        }
    }
    assert_eq!(rig.pool.snapshot(), before, "a late report counted");
    Some(())
}

/// Everything ends: guests answer, bodies end, stores are dropped.
fn finish(rig: &mut Rig) {
    while rig.ledger.reserved > 0 {
        rig.release();
    }
    rig.drain();
    for round in 0..100 {
        if rig.pool.is_drained() {
            // A probe that was planned finds nobody.
            return rig.jump(rig.elapsed() + Duration::from_secs(1));
        }
        while rig.ledger.account.is_some() && rig.claim().wanted > 0 {
            rig.grant();
        }
        if rig.ledger.fitting() == 0 {
            rig.jump(rig.elapsed() + Duration::from_secs(1));
        }
        for instance in rig.ledger.instances.keys().copied().collect::<Vec<_>>() {
            if rig.ledger.instances[&instance].retiring {
                rig.dropped(instance);
                continue;
            }
            if !rig.ledger.instances[&instance].loaded {
                rig.started(instance);
            }
            rig.backpressure(instance, false);
            rig.settled(instance);
            for request in rig.ledger.guests(instance) {
                rig.responded(request);
                rig.ended(request);
            }
            rig.quiet(instance);
        }
        if round > 60 {
            // What still waits has no instance under these limits.
            for request in rig.ledger.queue() {
                rig.cancel(request);
            }
        }
    }
    panic!("the drain does not end: {:?}", rig.pool.snapshot());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_pool_keeps_its_promises(
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
            take(&mut rig, step, &limits);
        }
        finish(&mut rig);
        let end = rig.pool.snapshot();
        prop_assert_eq!(end.instances.live(), 0);
        prop_assert_eq!((end.queued, end.starting, end.busy, end.pinned), (0, 0, 0, 0));
        prop_assert_eq!((end.streaming, end.abandoned), (0, 0));
        prop_assert_eq!((end.permits_free, end.permits_reserved), (0, 0));
        let outcomes = end.responded + end.failed + end.refused + end.cancelled;
        prop_assert_eq!(outcomes, end.submitted);
        prop_assert_eq!(end.retired.total(), end.starts);
        prop_assert_eq!(rig.timeout(), None, "nothing is left to look at the clock for");
    }
}

//! A life of a pool, step by step. The tests here draw the steps, and a fuzzer
//! reads them from bytes. After each step the rig compares the pool with its ledger, so each request has
//! exactly one outcome, no limit is exceeded, no closed instance is given a request, and no request waits
//! in vain; at the end everything finishes and nothing is left.

use std::task::Poll;
use std::time::Duration;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{Limits, Reason};

use super::Rig;
use super::ledger::Place;

/// One step: what to do, and a number that says with which of those it can be done.
#[derive(Clone, Copy, Debug)]
pub enum Step {
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

/// Takes a step, if it can be taken now.
pub fn take(rig: &mut Rig, step: Step, limits: &[Limits]) -> Option<()> {
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
            // Now and then a store vanishes that was not asked to end.
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
pub fn finish(rig: &mut Rig) {
    while rig.ledger.reserved > 0 {
        rig.release();
    }
    rig.drain();
    for round in 0..100 {
        if rig.pool.is_drained() {
            // A probe that was planned finds no waiting request.
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

/// Holds what is left at the end of a life against what must be.
pub fn check_end(rig: &Rig) {
    let end = rig.pool.snapshot();
    assert_eq!(end.instances.live(), 0);
    assert_eq!((end.queued, end.starting, end.busy, end.pinned), (0, 0, 0, 0));
    assert_eq!((end.streaming, end.abandoned), (0, 0));
    assert_eq!((end.permits_free, end.permits_reserved), (0, 0));
    let outcomes = end.responded + end.failed + end.refused + end.cancelled;
    assert_eq!(outcomes, end.submitted);
    assert_eq!(end.retired.total(), end.starts);
    assert_eq!(rig.timeout(), None, "nothing is left to look at the clock for");
}

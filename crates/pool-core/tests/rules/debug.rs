//! What `Debug` prints, of what people meet in logs and in failed assertions: the numbers that matter,
//! and nothing of the insides.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::{Rig, exclusive, secs};
use millpond_pool_core::expiration::{
    BoxExpiration, Expired, InstanceExpiration, Signal, all, any, boxed, from_fn, max_age,
};
use millpond_pool_core::{
    BudgetLimits, Driver, Failure, Instance, InstanceId, Limits, PoolHandle, Reason, Refusal,
    RequestId, Runtime, SharedBudget, Start,
};

fn debug(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}")
}

#[test]
fn ids_print_their_numbers() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    assert_eq!((debug(&rig.id(2)), rig.id(2).to_string()), ("InstanceId(2)".into(), "2".into()));
    let request_id = rig.request_id(2);
    assert_eq!((debug(&request_id), request_id.to_string()), ("RequestId(2)".into(), "2".into()));
}

#[test]
fn retirements_print_by_reason() {
    let mut rig = Rig::new(exclusive(3));
    assert_eq!(debug(&rig.pool.snapshot().retired), "{}");
    rig.submit_many(3);
    rig.broken(1, Reason::Trap);
    rig.broken(2, Reason::Trap);
    rig.broken(3, Reason::Exit);
    assert_eq!(debug(&rig.pool.snapshot().retired), r#"{"trap": 2, "exit": 1}"#);
}

#[test]
fn a_histogram_prints_its_count_and_sum() {
    let mut rig = Rig::new(exclusive(2));
    rig.submit_many(2);
    rig.at(secs(2));
    rig.started(1);
    rig.started(2);
    let shown = debug(&rig.pool.snapshot().start_time);
    assert_eq!(shown, "Histogram { count: 2, sum: 4s, .. }");
}

#[test]
fn a_signal_shows_whether_it_is_raised() {
    let signal = Signal::new();
    assert_eq!(debug(&signal), "Signal { raised: false }");
    signal.raise();
    assert_eq!(debug(&signal), "Signal { raised: true }");
}

#[test]
fn combined_policies_print_their_parts() {
    let age = || boxed(max_age(secs(1)));
    assert_eq!(debug(&any([age(), age()])), "Any { policies: 2 }");
    assert_eq!(debug(&all([age(), age(), age()])), "All { policies: 3 }");
    assert_eq!(debug(&from_fn(|_| Poll::Ready(Expired::Drain(Reason::Age)))), "FromFn");
    assert_eq!(debug(&max_age(secs(1)).jitter(0.25)), "Jitter { fraction: 0.25, .. }");
}

#[test]
fn a_shared_budget_shows_how_it_is_divided() {
    let budget = SharedBudget::new(BudgetLimits::instances(5).memory(7));
    let shown = debug(&budget);
    assert!(shown.contains("max_instances: 5, max_memory: 7"), "{shown}");
}

/// Keeps the instance it is told to start, and does nothing with it.
#[derive(Default)]
struct Keeper(Arc<Mutex<Option<Instance<Self>>>>);

struct Nowhere;

impl Runtime for Nowhere {
    type Sleep = Ready<()>;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        ready(())
    }

    fn spawn(&self, _: Pin<Box<dyn Future<Output = ()> + Send>>) {}
}

impl Driver for Keeper {
    type Item = ();
    type Slot = ();
    type Runtime = Nowhere;

    fn runtime(&self) -> &Nowhere {
        &Nowhere
    }

    fn expiration(&self, _: InstanceId) -> BoxExpiration {
        boxed(max_age(Duration::MAX))
    }

    fn start(&self, _: &PoolHandle<Self>, instance: Instance<Self>, _: Start<()>) {
        *self.0.lock().expect("not poisoned") = Some(instance);
    }

    fn assign(&self, _: &PoolHandle<Self>, _: Instance<Self>, _: RequestId, (): ()) {}

    fn refuse(&self, _: RequestId, (): (), _: Refusal) {}

    fn fail(&self, _: Instance<Self>, _: RequestId, _: Failure) {}

    fn retire(&self, _: &PoolHandle<Self>, _: Instance<Self>, _: Reason) {}
}

#[test]
fn what_a_pool_hands_out_shows_which_it_is() {
    let keeper = Keeper::default();
    let kept = Arc::clone(&keeper.0);
    let pool = PoolHandle::new(keeper, Limits::default(), 0);
    assert_eq!(debug(&pool), "PoolHandle { .. }", "it takes no lock");
    assert_eq!(debug(&pool.reserve()), "Reserve { place: None }", "it stands in no line yet");
    let permit = pool.try_reserve().expect("a place");
    assert_eq!(debug(&permit), "OwnedPermit");
    let submitted = pool.submit(permit, ());
    assert_eq!(debug(&submitted), "Submitted(RequestId(1))");
    let instance = kept.lock().expect("not poisoned").take().expect("one was started");
    assert_eq!(debug(&instance), "Instance(InstanceId(1))");
}

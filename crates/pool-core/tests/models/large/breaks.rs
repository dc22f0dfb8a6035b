//! Instances that break, close and push back under a crowd of callers.

use millpond_pool_core::{InstanceEvent, Limits, Reason};

use super::callers::{close, crowd, join, observe, two_exclusive, two_shared};
use crate::host::{Pool, pool};
use crate::mode::{explore_large, thread};

/// All that an instance may report of itself, to those there are.
fn upset(pool: &Pool) {
    let upsets = [
        InstanceEvent::Backpressure(true),
        InstanceEvent::Broken(Reason::Trap),
        InstanceEvent::Backpressure(false),
        InstanceEvent::Drain(Reason::Swap),
    ];
    for upset in upsets {
        let journal = pool.driver().journal();
        let first = journal.lock().unwrap().guests.keys().next().copied();
        if let Some(id) = first {
            pool.report(id, upset);
        }
        observe(pool);
    }
}

fn upsetting(limits: fn() -> Limits) {
    explore_large(move || {
        let (pool, _) = pool(limits());
        let callers = crowd(&pool);
        let upsetting = pool.clone();
        let upsetting = thread::spawn(move || upset(&upsetting));
        upsetting.join().unwrap();
        let claims = join(&pool, callers);
        assert_eq!(claims.len(), 6);
        close(pool, None, &claims);
    });
}

#[test]
fn a_crowd_survives_broken_instances() {
    upsetting(two_exclusive);
}

#[test]
fn a_crowd_survives_broken_shared_instances() {
    upsetting(two_shared);
}

//! Handles that are let go while requests are under way: the last one ends everything.

use std::sync::{Arc, Weak};

use millpond_pool_core::Limits;

use super::callers::{observe, permit, two_exclusive, two_shared};
use crate::host::{Item, Pool, Request, let_go, pool, run};
use crate::mode::{explore_large, thread};

/// Submits a request, and lets go of the pool before it goes away from the request, or after.
fn part(pool: Pool, pool_first: bool) -> Weak<Request> {
    let item = Item::default();
    let weak = Arc::downgrade(&item);
    let permit = permit(&pool).expect("not draining");
    let request = pool.submit(permit, item);
    observe(&pool);
    if pool_first {
        let_go(pool);
        drop(request);
    } else {
        drop(request);
        let_go(pool);
    }
    weak
}

fn parting(limits: fn() -> Limits) {
    explore_large(move || {
        let (pool, reaper) = pool(limits());
        let reaper = run(reaper);
        let parting = [true, false, true].map(|pool_first| {
            let pool = pool.clone();
            thread::spawn(move || part(pool, pool_first))
        });
        let_go(pool);
        let items = parting.map(|one| one.join().unwrap());
        reaper.join().unwrap();
        assert!(items.iter().all(|item| item.upgrade().is_none()), "no request is kept");
    });
}

#[test]
fn the_last_handle_ends_the_reaper() {
    parting(two_exclusive);
}

#[test]
fn the_last_handle_ends_the_shared_reaper() {
    parting(two_shared);
}

//! Crowds at several pools that share a budget, whose limit changes, and of which one leaves.

use millpond_pool_core::Limits;

use super::callers::{
    Claims, close, join, leave, observe, permit, see_through, two_exclusive, two_shared,
};
use crate::host::{BudgetFixture, Pool, check_empty, exclusive};
use crate::mode::explore_large;
use crate::mode::thread::{self, JoinHandle};

/// A caller with two requests, that goes away from the first of them or does not.
fn caller(pool: &Pool, leaves: bool) -> JoinHandle<Claims> {
    let pool = pool.clone();
    thread::spawn(move || {
        let first = permit(&pool).expect("not draining");
        let first = if leaves { leave(&pool, first) } else { see_through(&pool, first) };
        let second = permit(&pool).expect("not draining");
        vec![first, see_through(&pool, second)]
    })
}

/// Nothing is left but idle instances, and then nothing.
fn settle(fixture: &BudgetFixture, pools: [(Pool, Claims); 2]) {
    pools.iter().for_each(|(pool, _)| check_empty(pool));
    fixture.check_quiet(&pools.each_ref().map(|(pool, _)| pool));
    for (pool, claims) in pools {
        close(pool, None, &claims);
    }
    assert_eq!(fixture.used(), 0);
}

fn crowds(limits: fn() -> Limits) {
    explore_large(move || {
        let fixture = BudgetFixture::new(2);
        let (one, other) = (fixture.pool_with(exclusive(), 1), fixture.pool(limits()));
        let third = fixture.pool(exclusive());
        let ones = [caller(&one, false)];
        let others = [caller(&other, true), caller(&other, false)];
        let leaving = thread::spawn(move || {
            let permit = permit(&third).expect("not draining");
            see_through(&third, permit);
        });
        let resized = fixture.clone();
        let resizing = thread::spawn(move || [1, 3, 2].map(|instances| resized.resize(instances)));

        let claims = [join(&one, ones), join(&other, others)];
        leaving.join().unwrap();
        resizing.join().unwrap();
        let [ones, others] = claims;
        settle(&fixture, [(one, ones), (other, others)]);
    });
}

#[test]
fn crowds_keep_to_a_changing_budget() {
    crowds(two_exclusive);
}

#[test]
fn shared_crowds_keep_to_a_changing_budget() {
    crowds(two_shared);
}

/// One pool keeps a spare, which counts against the budget and which the other may need.
#[test]
fn a_crowd_displaces_another_pools_spares() {
    explore_large(|| {
        let fixture = BudgetFixture::new(2);
        let mut spared = two_exclusive();
        spared.min_idle = 1;
        let (one, other) = (fixture.pool(spared), fixture.pool(two_exclusive()));
        let ones = [caller(&one, false)];
        let others = [caller(&other, false), caller(&other, false)];
        observe(&one);
        let ones = join(&one, ones);
        let others = join(&other, others);
        settle(&fixture, [(one, ones), (other, others)]);
    });
}

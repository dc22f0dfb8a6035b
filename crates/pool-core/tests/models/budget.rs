//! Pools that share a budget: what one needs of another, against whatever happens to both.

use millpond_pool_core::{Limits, Share, Submitted};

use crate::host::{
    BudgetFixture, Host, Item, Pool, answer, check_empty, exclusive, handed_over, let_go, reserve,
    submit,
};
use crate::mode::{explore, explore_bounded, thread};

/// Waits until a guest has the request, and plays it.
fn serve(request: Submitted<Host>) {
    handed_over(request.pool(), request.request_id()).expect("nothing fails here");
    assert!(answer(request));
}

fn ask(pool: &Pool) {
    serve(submit(pool));
}

fn two() -> Limits {
    let mut limits = exclusive();
    limits.max_instances = 2;
    limits
}

/// Nothing is left but idle instances.
fn check(fixture: &BudgetFixture, pools: &[&Pool]) {
    pools.iter().for_each(|pool| check_empty(pool));
    fixture.check_quiet(pools);
}

/// Both are asked at once.
fn ask_both(one: Pool, other: &Pool) -> Pool {
    let permit = reserve(&one);
    let asking = thread::spawn(move || {
        serve(one.submit(permit, Item::default()));
        one
    });
    ask(other);
    asking.join().unwrap()
}

#[test]
fn two_pools_take_turns_at_one_instance() {
    explore_bounded(|| {
        let fixture = BudgetFixture::new(1);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        let one = ask_both(one, &other);
        check(&fixture, &[&one, &other]);
        assert_eq!(fixture.used(), 1, "no pool needs the last one's place");
    });
}

#[test]
fn an_idle_instance_serves_or_is_reclaimed() {
    explore_bounded(|| {
        let fixture = BudgetFixture::new(1);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        ask(&other);
        let one = ask_both(one, &other);
        check(&fixture, &[&one, &other]);
    });
}

#[test]
fn a_guarantee_withstands_another_pool() {
    explore(|| {
        let fixture = BudgetFixture::new(2);
        let (one, other) = (fixture.pool_with(exclusive(), 1), fixture.pool(two()));
        let running = submit(&other);
        let permit = reserve(&one);
        let asking = thread::spawn(move || {
            serve(one.submit(permit, Item::default()));
            one
        });
        // It runs as long as it likes.
        let waiting = submit(&other);
        let one = asking.join().unwrap();
        assert_eq!(other.snapshot().instances.live(), 1, "the other place is kept");

        assert!(answer(running));
        serve(waiting);
        check(&fixture, &[&one, &other]);
    });
}

/// A pool leaves, in which this has happened, while the other one asks for its place.
fn leaving_makes_room(before: fn(&Pool)) {
    explore(move || {
        let fixture = BudgetFixture::new(1);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        before(&one);
        let permit = reserve(&other);
        let leaving = thread::spawn(move || let_go(one));
        serve(other.submit(permit, Item::default()));
        leaving.join().unwrap();
        check(&fixture, &[&other]);
    });
}

#[test]
fn a_leaving_pool_frees_its_grant() {
    leaving_makes_room(|pool| submit(pool).over());
}

#[test]
fn a_dropped_pool_frees_its_idle_grant() {
    leaving_makes_room(ask);
}

#[test]
fn a_grant_to_a_leaving_pool_is_not_lost() {
    explore(|| {
        let fixture = BudgetFixture::new(1);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        let running = submit(&other);
        let mut waiting = submit(&one);
        waiting.over();
        drop(waiting);
        let leaving = thread::spawn(move || let_go(one));
        // The other's place is asked for, unless it has left.
        assert!(answer(running));
        leaving.join().unwrap();
        ask(&other);
        check(&fixture, &[&other]);
    });
}

#[test]
fn an_unneeded_grant_is_given_back() {
    explore_bounded(|| {
        let fixture = BudgetFixture::new(2);
        let (one, other) = (fixture.pool(two()), fixture.pool(exclusive()));
        let running = submit(&other);
        let first = submit(&one);
        let second = submit(&one);
        let answering = thread::spawn(move || assert!(answer(running)));
        assert!(answer(first), "its instance or another one takes the second");
        answering.join().unwrap();
        serve(second);
        check(&fixture, &[&one, &other]);
        ask(&other);
        check(&fixture, &[&one, &other]);
    });
}

#[test]
fn a_lower_limit_reclaims_despite_a_request() {
    explore(|| {
        let fixture = BudgetFixture::new(2);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        ask(&one);
        ask(&other);
        assert_eq!(fixture.used(), 2);
        let permit = reserve(&one);
        let lowered = fixture.clone();
        let lowering = thread::spawn(move || lowered.resize(1));
        serve(one.submit(permit, Item::default()));
        lowering.join().unwrap();
        check(&fixture, &[&one, &other]);
        assert_eq!(fixture.used(), 1);
    });
}

#[test]
fn a_higher_limit_lets_in_who_waits() {
    explore(|| {
        let fixture = BudgetFixture::new(1);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        let running = submit(&one);
        let permit = reserve(&other);
        let raised = fixture.clone();
        let raising = thread::spawn(move || raised.resize(2));
        // Nothing else happens that could give it a place.
        serve(other.submit(permit, Item::default()));
        raising.join().unwrap();
        assert!(answer(running));
        check(&fixture, &[&one, &other]);
        assert_eq!(fixture.used(), 2);
    });
}

#[test]
fn the_newest_of_reordered_claims_counts() {
    explore_bounded(|| {
        let fixture = BudgetFixture::new(2);
        let (one, other) = (fixture.pool(two()), fixture.pool(two()));
        let first = submit(&one);
        let second = submit(&one);
        let answering = thread::spawn(move || assert!(answer(first)));
        assert!(answer(second));
        answering.join().unwrap();
        check(&fixture, &[&one, &other]);
        assert_eq!(fixture.used(), 2);

        // An older one would say that there is nothing to be had of it.
        let requests = [submit(&other), submit(&other)];
        requests.into_iter().for_each(serve);
        check(&fixture, &[&one, &other]);
    });
}

#[test]
fn a_share_beyond_the_budget_is_refused() {
    explore(|| {
        let fixture = BudgetFixture::new(1);
        let (one, other) = (fixture.pool(exclusive()), fixture.pool(exclusive()));
        let guaranteed = |count| {
            let mut share = Share::default();
            share.guaranteed = count;
            share
        };
        assert!(one.set_share(guaranteed(2)).is_err());
        one.set_share(guaranteed(1)).expect("as many as there are");
        assert!(other.set_share(guaranteed(1)).is_err(), "the one is the other's");
    });
}

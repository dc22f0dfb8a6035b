//! A crowd of callers, and a drain that begins in the middle of it.

use std::sync::{Arc, Mutex};

use millpond_pool_core::{Drained, Limits};

use super::callers::{
    Claims, close, join, leave, observe, permit, see_through, two_exclusive, two_shared,
};
use crate::host::{Host, Pool, pool};
use crate::mode::{block_on, explore_large, thread};

/// Five callers with two requests each, and three permits. One of them sees to the end of the pool
/// between its two, another goes away from its first.
fn crowd(limits: fn() -> Limits, end: fn(&Pool) -> Drained<Host>) {
    explore_large(move || {
        let (pool, _) = pool(limits());
        assert_eq!(pool.snapshot().permits_free, 3, "a caller has to wait");
        let waiting = Arc::<Mutex<_>>::default();
        let callers = [0, 1, 2, 3, 4].map(|caller| {
            let (pool, waiting) = (pool.clone(), waiting.clone());
            thread::spawn(move || {
                let mut claims = Claims::new();
                for round in [0, 1] {
                    let Some(permit) = permit(&pool) else { break };
                    claims.push(match (caller, round) {
                        (0, 0) => leave(&pool, permit),
                        _ => see_through(&pool, permit),
                    });
                    if (caller, round) == (1, 0) {
                        let drained = end(&pool);
                        let waits = thread::spawn(move || block_on(drained));
                        *waiting.lock().unwrap() = Some(waits);
                    }
                }
                claims
            })
        });
        let claims = join(&pool, callers);
        let waiting = waiting.lock().unwrap().take();
        waiting.expect("a caller ended the pool").join().unwrap();
        close(pool, None, &claims);
    });
}

fn two_at_once() -> Limits {
    let mut limits = two_shared();
    limits.max_running = Some(2);
    limits
}

fn drain(pool: &Pool) -> Drained<Host> {
    let drained = pool.drain();
    observe(pool);
    drained
}

fn cut_short(pool: &Pool) -> Drained<Host> {
    let drained = drain(pool);
    pool.stop();
    observe(pool);
    drained
}

#[test]
fn a_drain_serves_or_refuses_a_crowd() {
    crowd(two_exclusive, drain);
}

#[test]
fn a_drain_serves_or_refuses_a_shared_crowd() {
    crowd(two_at_once, drain);
}

#[test]
fn a_stop_serves_or_refuses_a_crowd() {
    crowd(two_exclusive, cut_short);
}

#[test]
fn a_stop_serves_or_refuses_a_shared_crowd() {
    crowd(two_at_once, cut_short);
}

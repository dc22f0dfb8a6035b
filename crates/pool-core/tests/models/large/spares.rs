//! Limits that ask for more spares, and for fewer, under a crowd of callers.

use millpond_pool_core::Limits;

use super::callers::{Claim, close, crowd, join, observe, two_shared};
use crate::host::{pool, run};
use crate::mode::{block_on, explore_large, thread};

fn kept(min_idle: usize) -> Limits {
    let mut limits = two_shared();
    limits.concurrency = 1;
    limits.min_idle = min_idle;
    limits
}

#[test]
fn a_crowd_is_served_as_spares_come_and_go() {
    explore_large(|| {
        let (pool, reaper) = pool(kept(1));
        let reaper = run(reaper);
        let callers = crowd(&pool);
        let limiting = pool.clone();
        let limiting = thread::spawn(move || {
            for min_idle in [0, 2, 1, 2] {
                limiting.set_limits(kept(min_idle));
                observe(&limiting);
            }
        });
        let warming = pool.clone();
        let warming = thread::spawn(move || block_on(warming.warmed()));

        let claims = join(&pool, callers);
        limiting.join().unwrap();
        // No request is being served: now at the latest all are there.
        pool.driver().clock.advance(100);
        warming.join().unwrap();
        assert!(claims.iter().all(|(_, claim)| *claim != Claim::Told), "{claims:?}");
        block_on(pool.driver().read(|journal| (journal.guests.len() == 2).then_some(())));
        close(pool, Some(reaper), &claims);
    });
}

//! Reservations in a line, with some that leave it.

use std::task::Poll;

use millpond_pool_core::Limits;

use super::callers::{Claim, Claims, Permit, close, leave, observe, permit, see_through};
use crate::host::{Pool, check_empty, exclusive, poll_once, pool, reserve};
use crate::mode::{block_on, explore_large, thread};

/// Two permits.
fn two() -> Limits {
    let mut limits = exclusive();
    limits.max_queue = 1;
    limits
}

/// Stands in the line for a moment, with a waker that does nothing.
fn look_in(pool: &Pool) -> Option<Permit> {
    let mut waiting = pool.reserve();
    match poll_once(&mut waiting) {
        Poll::Ready(permit) => permit.ok(),
        Poll::Pending => {
            observe(pool);
            None
        }
    }
}

#[test]
fn leaving_waiters_do_not_block_permits() {
    explore_large(|| {
        let (pool, _) = pool(two());
        let taken = [reserve(&pool), reserve(&pool)];
        // In the line before all others.
        let mut first = pool.reserve();
        assert!(poll_once(&mut first).is_pending());

        let roles: [fn(&Pool) -> Claims; 4] = [
            // Leaves the line, and gives back what it got.
            |pool| {
                drop(look_in(pool));
                drop(look_in(pool));
                Claims::new()
            },
            // Waits, and gives back what it waited for.
            |pool| {
                drop(permit(pool));
                drop(permit(pool));
                Claims::new()
            },
            // Submits, twice.
            |pool| {
                let first = see_through(pool, permit(pool).expect("not draining"));
                vec![first, leave(pool, permit(pool).expect("not draining"))]
            },
            // Waits with another waker than the one it came with.
            |pool| {
                let mut waiting = pool.reserve();
                let permit = match poll_once(&mut waiting) {
                    Poll::Ready(permit) => permit,
                    Poll::Pending => block_on(waiting),
                };
                vec![see_through(pool, permit.expect("not draining"))]
            },
        ];
        let others = roles.map(|role| {
            let pool = pool.clone();
            thread::spawn(move || role(&pool))
        });
        let giving = thread::spawn(move || drop(taken));
        let permit = block_on(first).expect("not draining");
        drop(permit);
        giving.join().unwrap();
        let claims: Claims = others.into_iter().flat_map(|other| other.join().unwrap()).collect();

        check_empty(&pool);
        let answered = claims.iter().filter(|(_, claim)| *claim == Claim::Answered).count();
        assert_eq!((claims.len(), answered), (3, 2), "nothing but its caller ends a request");
        drop([reserve(&pool), reserve(&pool)]);
        assert_eq!(pool.snapshot().permits_free, 2);
        close(pool, None, &claims);
    });
}

//! Policies woken by a signal, while the limits change under the requests.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use millpond_pool_core::expiration::{BoxExpiration, Expired, boxed, from_fn};
use millpond_pool_core::{Limits, Reason};

use super::callers::{Claim, Claims, close, join, observe, permit, see_through, two_shared};
use crate::host::{pool_with, run};
use crate::mode::{block_on, explore_large, thread};

/// A signal to replace all instances by new ones. Using it is no step of the model, waking is.
#[derive(Clone, Default)]
struct Swap(Arc<(AtomicU64, Mutex<Vec<Waker>>)>);

impl Swap {
    fn give(&self) {
        let (generation, wakers) = &*self.0;
        generation.fetch_add(1, SeqCst);
        let wakers = std::mem::take(&mut *wakers.lock().unwrap());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends an instance that is older than the signal, once its requests have ended.
    fn policy(&self) -> BoxExpiration {
        let swap = self.clone();
        let born = swap.0.0.load(SeqCst);
        boxed(from_fn(move |cx| {
            let (generation, wakers) = &*swap.0;
            wakers.lock().unwrap().push(cx.waker().clone());
            let old = generation.load(SeqCst) > born;
            if old { Poll::Ready(Expired::Drain(Reason::Swap)) } else { Poll::Pending }
        }))
    }
}

/// One instance, one request at a time, no queue.
fn narrow() -> Limits {
    let mut limits = two_shared();
    limits.max_instances = 1;
    limits.max_running = Some(1);
    limits.max_queue = 0;
    limits
}

#[test]
fn a_swap_beside_new_limits_loses_nothing() {
    explore_large(|| {
        let swap = Swap::default();
        let policy = swap.clone();
        let (pool, reaper) = pool_with(two_shared(), move || policy.policy());
        let reaper = run(reaper);
        let callers = [(); 3].map(|()| {
            let pool = pool.clone();
            thread::spawn(move || -> Claims {
                let permits = (0..2).filter_map(|_| permit(&pool));
                permits.map(|permit| see_through(&pool, permit)).collect()
            })
        });
        let limiting = pool.clone();
        let limiting = thread::spawn(move || {
            for limits in [narrow(), two_shared(), narrow(), two_shared()] {
                limiting.set_limits(limits);
                observe(&limiting);
            }
        });
        let swapping = swap.clone();
        let swapping = thread::spawn(move || swapping.give());

        let claims = join(&pool, callers);
        limiting.join().unwrap();
        swapping.join().unwrap();
        assert_eq!(claims.len(), 6);
        assert!(claims.iter().all(|(_, claim)| *claim == Claim::Answered), "{claims:?}");

        // Now nothing else happens: this wakes the task that ends the last instances.
        swap.give();
        block_on(pool.driver().empty());
        close(pool, Some(reaper), &claims);
    });
}

//! The policies of simulated instances, and their wakers.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use millpond_pool_core::expiration::{
    BoxExpiration, Expired, InstanceExpiration as _, Signal, all, any, body_stall_timeout, boxed,
    busy_timeout, from_fn, idle_timeout, max_age, max_requests, memory_watermark,
    post_return_timeout, resource_growth, standard,
};
use millpond_pool_core::{InstanceId, Reason, Status};

/// Whose policies were woken: polled again by the reaper.
#[derive(Debug, Default)]
pub(crate) struct Woken(Mutex<Vec<InstanceId>>);

impl Woken {
    pub(crate) fn take(&self) -> Vec<InstanceId> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn waker(self: &Arc<Self>, id: InstanceId) -> Waker {
        Waker::from(Arc::new(WakePolicy { id, woken: Arc::clone(self) }))
    }
}

struct WakePolicy {
    id: InstanceId,
    woken: Arc<Woken>,
}

impl Wake for WakePolicy {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

/// One of the kinds of policies.
pub(crate) fn policy(kind: u64, signal: &Signal) -> BoxExpiration {
    let ms = Duration::from_millis;
    match kind {
        0 => boxed(standard()),
        1 => boxed(standard().jitter(0.5)),
        2 => boxed(standard().or(signal.follow(Expired::Drain(Reason::Swap)))),
        3 => boxed(any([
            boxed(idle_timeout(ms(500)).jitter(0.25)),
            boxed(busy_timeout(ms(800))),
            boxed(post_return_timeout(ms(300))),
            boxed(body_stall_timeout(ms(400))),
            boxed(max_age(ms(20_000)).jitter(1.0)),
        ])),
        4 => {
            let early = all([
                boxed(idle_timeout(Duration::ZERO)),
                boxed(signal.follow(Expired::Retire(Reason::Memory))),
            ]);
            boxed(standard().or(memory_watermark(60 << 20)).or(early))
        }
        5 => boxed(
            standard()
                .or(max_requests(12).jitter(0.5))
                .or(resource_growth(20))
                .or(from_fn(crowded)),
        ),
        6 => boxed(standard().or(from_fn(panicky))),
        _ => boxed(
            signal
                .follow(Expired::Retire(Reason::Swap))
                .or(all([boxed(idle_timeout(ms(50))), boxed(max_requests(3))])),
        ),
    }
}

/// Ends an idle instance while there are many and no request waits.
fn crowded(cx: &mut millpond_pool_core::expiration::ExpirationContext<'_>) -> Poll<Expired> {
    let load = cx.load();
    let crowd = load.idle > 3 && load.queued == 0 && !cx.view().spare;
    if cx.view().status == Status::Idle && crowd {
        Poll::Ready(Expired::Retire(Reason::Idle))
    } else {
        Poll::Pending
    }
}

/// Panics now and then; without the message, which the panic hook would print.
fn panicky(cx: &mut millpond_pool_core::expiration::ExpirationContext<'_>) -> Poll<Expired> {
    let view = cx.view();
    if view.requests > 0 && (view.id.number() + view.requests) % 97 == 0 {
        std::panic::resume_unwind(Box::new("a policy's panic"));
    }
    Poll::Pending
}

//! Policies of an embedder's own.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use millpond::expiration::{
    ExpirationContext, Expired, InstanceExpiration, boxed, from_fn, max_age,
};
use millpond::{Reason, Status};

use crate::setup::{Held, Setup, all_idle, assert_answer, drain};

/// An external signal, say of memory pressure.
#[derive(Default)]
struct Signal {
    on: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Signal {
    fn set(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
        for waker in self.wakers.lock().expect("no panic under this lock").drain(..) {
            waker.wake();
        }
    }
}

/// Retires an idle instance while the signal is on.
struct WhenSignalled(Arc<Signal>);

impl InstanceExpiration for WhenSignalled {
    fn poll_expired(self: Pin<&mut Self>, cx: &mut ExpirationContext<'_>) -> Poll<Expired> {
        self.0.wakers.lock().expect("no panic under this lock").push(cx.waker().clone());
        let idle = cx.view().status == Status::Idle;
        if idle && self.0.on.load(Ordering::SeqCst) {
            return Poll::Ready(Expired::Retire(Reason::Pressure));
        }
        Poll::Pending
    }
}

const LONG: Duration = Duration::from_secs(600);

async fn a_signal_retires_idle_instances(setup: Setup) {
    let signal = Arc::new(Signal::default());
    let watched = Arc::clone(&signal);
    let server = setup
        .serve_with(|builder| {
            let builder = builder.limits(|limits| {
                limits.idle_timeout = LONG;
                limits.max_instances = 3;
                limits.concurrency = limits.concurrency.min(2);
            });
            builder
                .expiration(move |default| boxed(default.or(WhenSignalled(Arc::clone(&watched)))))
        })
        .await;
    let seats = if setup.is_shared() { 6 } else { 3 };
    let mut held = Vec::new();
    for _ in 0..seats {
        held.push(Held::hold(&server).await);
    }
    let busy = held.split_off(seats - 1);
    // The last of them stays: with what is on its instance, if that is shared.
    for held in held {
        assert_answer(&held.let_go().await, "0");
    }
    server.until("two are idle", |now| (now.instances.idle, now.instances.busy) == (2, 1)).await;
    assert_eq!(server.pool.snapshot().retired.total(), 0);

    signal.set(true);
    let now = server.until("the idle ones are gone", |now| now.instances.live() == 1).await;
    assert_eq!((now.retired.get(Reason::Pressure), now.instances.busy), (2, 1));
    for held in busy {
        assert_answer(&held.let_go().await, "0");
    }
    let now = server.until("the busy one too, once idle", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Pressure), now.retired.total()), (3, 3));

    signal.set(false);
    assert_answer(&server.get("/counter").await, "1\n");
    all_idle(&server).await;
    assert_answer(&server.get("/counter").await, "2\n");
    let now = drain(&server).await;
    assert_eq!((now.starts, now.failed), (4, 0));
}
setups!(a_signal_retires_idle_instances: p2_reused p3_shared);

async fn a_draining_policy_lets_requests_finish(setup: Setup) {
    let signal = Arc::new(Signal::default());
    let watched = Arc::clone(&signal);
    let server = setup
        .serve_with(|builder| {
            builder.expiration(move |default| {
                let signal = Arc::clone(&watched);
                boxed(default.or(from_fn(move |cx| {
                    signal.wakers.lock().expect("no panic").push(cx.waker().clone());
                    match signal.on.load(Ordering::SeqCst) && cx.view().id.number() == 1 {
                        true => Poll::Ready(Expired::Drain(Reason::Memory)),
                        false => Poll::Pending,
                    }
                })))
            })
        })
        .await;
    assert_answer(&server.get("/counter").await, "1\n");
    all_idle(&server).await;
    let held = Held::hold(&server).await;
    assert_eq!(server.pool.snapshot().starts, 1);
    signal.set(true);
    // The reaper polls the policy soon after.
    let count = loop {
        let reply = server.get("/counter").await;
        if server.pool.snapshot().starts == 2 {
            break reply;
        }
    };
    assert_answer(&count, "1\n");
    assert_answer(&held.let_go().await, "0");
    let now = server.until("it is gone", |now| now.instances.live() == 1).await;
    assert_eq!((now.retired.get(Reason::Memory), now.retired.total()), (1, 1));
    assert_eq!(now.failed, 0);
}
setups!(a_draining_policy_lets_requests_finish: p2_reused p3_shared);

async fn a_policy_that_retires_fails_what_runs(setup: Setup) {
    let server = setup
        .serve_with(|builder| {
            builder.expiration(|_| {
                boxed(from_fn(|cx| {
                    let since = cx.view().started;
                    let after = Duration::from_millis(300);
                    cx.expire_at(since, after, Expired::Retire(Reason::Memory))
                }))
            })
        })
        .await;
    let reply = server.get("/never").await;
    crate::setup::assert_failure(&reply, 503, "destination_unavailable", "instance ended");
    let now = server.until("it is gone", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Memory), now.failed), (1, 1));
}
setups!(a_policy_that_retires_fails_what_runs);

async fn an_old_instance_ends_between_requests(setup: Setup) {
    let server = setup
        .serve_with(|builder| {
            let age = Duration::from_millis(500);
            builder.expiration(move |default| boxed(default.or(max_age(age))))
        })
        .await;
    assert_answer(&server.get("/counter").await, "1\n");
    all_idle(&server).await;
    assert_answer(&server.get("/sleep?ms=1000").await, "slept\n");
    let now = server.until("it is gone", |now| now.instances.live() == 0).await;
    assert_eq!((now.retired.get(Reason::Age), now.retired.total(), now.starts), (1, 1, 1));
    assert_answer(&server.get("/counter").await, "1\n");
}
setups!(an_old_instance_ends_between_requests: p2_reused p3_shared);

async fn a_panicking_policy_ends_its_instance(setup: Setup) {
    let server = setup
        .serve_with(|builder| {
            builder.expiration(|_| {
                boxed(from_fn(|cx| {
                    assert!(cx.view().status != Status::Idle, "the policy was told to panic");
                    Poll::Pending
                }))
            })
        })
        .await;
    for _ in 0..3 {
        let held = Held::send(&server);
        server.until("it is on a guest or is told", |now| now.busy == 1 || now.failed > 0).await;
        let reply = held.let_go().await;
        assert!([200, 503].contains(&reply.status.as_u16()), "{reply:?}");
        server.until("it is gone", |now| now.instances.live() == 0).await;
    }
    let now = drain(&server).await;
    assert_eq!(now.retired.get(Reason::Host), now.starts);
}
setups!(a_panicking_policy_ends_its_instance: p2_reused);

//! A guest is one request's, from its first half to its second.

use std::collections::BTreeSet;

use millpond::Reason;
use millpond::expiration::{Expired, InstanceExpiration as _, Signal};
use millpond_tests::Front;

use crate::setup::{Gate, Script, Sent, back, guests, out};

const CROWD: usize = 64;

/// Sends a request for each of a crowd, and waits until all are with the next handler.
async fn hold_crowd(front: &Front, gate: &Gate, wave: usize, features: &str) -> Vec<Sent> {
    let mut sent = Vec::new();
    for i in 0..CROWD {
        // The lower half of the context is the request's, the upper one the wave's.
        let ctx = wave << 16 | i;
        let request = format!("{features}requests;keep {ctx};next {ctx};instance");
        sent.push(Sent::get(front.addr, Script(&request, "ctx;kept;requests;tell")));
    }
    gate.until_come(CROWD as u32).await;
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_gets_its_own_guest_back() {
    let gate = Gate::closed();
    let pool = guests(|builder| builder.limits(|limits| limits.max_instances = CROWD)).await;
    let front = Front::start(pool, gate.app()).await;
    for wave in 1..=3 {
        let sent = hold_crowd(&front, &gate, wave, "features 2;").await;
        let now = front.until("all are pinned", |now| now.pinned == CROWD).await;
        assert_eq!((now.instances.pinned, now.instances.busy, now.busy), (CROWD, 0, 0));
        assert_eq!((now.instances.live(), now.queued, now.starting), (CROWD, 0, 0));

        gate.open(CROWD);
        let mut instances = BTreeSet::new();
        for (i, sent) in sent.into_iter().enumerate() {
            let reply = sent.reply().await;
            let ctx = wave << 16 | i;
            assert_eq!(back(&reply), format!("{ctx};{ctx};{wave}"), "no request came between");
            let instance = out(&reply).strip_prefix(&format!("2;{wave};")).expect("its own count");
            instances.insert(instance.to_owned());
            assert_eq!(reply.text(), "through\n");
        }
        assert_eq!(instances.len(), CROWD, "one each");
        let now = front.until("all are idle", |now| now.instances.idle == CROWD).await;
        assert_eq!((now.responded, now.pinned), ((wave * CROWD) as u64, 0));
        assert_eq!((now.starts, now.retired.total()), (CROWD as u64, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_guest_serves_no_other_request() {
    let gate = Gate::closed();
    let pool = guests(|builder| builder.limits(|limits| limits.max_instances = 1)).await;
    let front = Front::start(pool, gate.app()).await;
    let first = Sent::get(front.addr, Script("features 2;requests", "requests;tell"));
    gate.until_come(1).await;
    let second = Sent::get(front.addr, Script("features 2;requests", "requests;tell"));
    let now = front.until("it waits", |now| now.queued == 1).await;
    assert_eq!((now.pinned, now.busy, now.instances.pinned), (1, 0, 1));
    gate.open(1);
    let reply = first.reply().await;
    assert_eq!((out(&reply), back(&reply)), ("2;1", "1"));
    gate.until_come(1).await;
    gate.open(1);
    let reply = second.reply().await;
    assert_eq!((out(&reply), back(&reply)), ("2;2", "2"));
    assert_eq!(front.pool.snapshot().starts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unbounded_pool_has_a_guest_for_each() {
    let gate = Gate::closed();
    let pool = guests(|builder| builder.unbounded().limits(|limits| limits.max_queue = 0)).await;
    let front = Front::start(pool, gate.app()).await;
    let sent = hold_crowd(&front, &gate, 1, "features 2;").await;
    front.until("all are pinned", |now| now.instances.pinned == CROWD).await;
    gate.open(CROWD);
    for sent in sent {
        assert_eq!(sent.reply().await.text(), "through\n");
    }
}

#[tokio::test]
async fn a_guest_without_second_half_is_not_kept() {
    let gate = Gate::closed();
    let guest = crate::setup::module(
        r#"(func (export "handle_request") (result i64) (i64.const 1))
        (func (export "handle_response") (param i32 i32))"#,
    );
    let pool =
        crate::setup::wat(guest, |builder| builder.limits(|limits| limits.max_instances = 1));
    let front = Front::start(pool.await, gate.app()).await;
    let sent: Vec<_> = (0..5).map(|_| Sent::get(front.addr, Script("", ""))).collect();
    gate.until_come(5).await;
    let now = front.until("the guest is free", |now| now.instances.idle == 1).await;
    assert_eq!((now.pinned, now.starts), (0, 1), "one served five that all wait");
    gate.open(5);
    for sent in sent {
        assert_eq!(sent.reply().await.text(), "through\n");
    }
}

#[tokio::test]
async fn the_guest_is_pinned_during_the_handler() {
    let gate = Gate::closed();
    let front = Front::start(guests(|builder| builder).await, gate.app()).await;
    let sent = Sent::get(front.addr, Script("features 2", "kept"));
    gate.until_come(1).await;
    // So no time of its runs, which the pool's rules show.
    let now = front.until("it is pinned", |now| now.pinned == 1).await;
    assert_eq!((now.busy, now.instances.pinned, now.instances.live()), (0, 1, 1));
    gate.open(1);
    assert_eq!(sent.reply().await.text(), "through\n");
    let now = front.until("it is idle", |now| now.instances.idle == 1).await;
    assert_eq!(now.retired.total(), 0);
}

#[tokio::test]
async fn a_pinned_guest_retires_only_when_done() {
    let gate = Gate::closed();
    let old = Signal::new();
    let ages = old.clone();
    let pool = guests(|builder| {
        let ends = Expired::Drain(Reason::Age);
        builder.expiration(move |policy| policy.or(ages.follow(ends)))
    });
    let front = Front::start(pool.await, gate.app()).await;
    let sent = Sent::get(front.addr, Script("features 2;requests", "requests;tell"));
    gate.until_come(1).await;
    old.raise();
    let now = front.pool.snapshot();
    assert_eq!((now.pinned, now.retired.total()), (1, 0));
    gate.open(1);
    let reply = sent.reply().await;
    assert_eq!((reply.text(), back(&reply)), ("through\n", "1"));
    let now = front.until("it has ended", |now| now.instances.live() == 0).await;
    assert_eq!(now.retired.get(Reason::Age), 1);
}

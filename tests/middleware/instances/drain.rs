//! Pools that end.

use millpond_tests::{Front, PATIENCE};

use crate::setup::{Gate, PROTOCOLS, Script, Sent, assert_failure, back, guests};

#[tokio::test]
async fn a_drain_finishes_pinned_requests() {
    let gate = Gate::closed();
    let pool = guests(|builder| builder.limits(|limits| limits.max_instances = 2)).await;
    let front = Front::start(pool, gate.app()).await;
    let script = Script("features 2;requests", "requests;tell");
    let pinned = [Sent::get(front.addr, script), Sent::get(front.addr, script)];
    gate.until_come(2).await;
    let queued = Sent::get(front.addr, script);
    front.until("it waits", |now| now.queued == 1).await;

    let drained = front.pool.drain();
    for protocol in PROTOCOLS {
        let reply = script.get(&mut front.connect(protocol).await).await;
        assert_failure(&reply, 503, "destination_unavailable", "draining");
    }
    let now = front.pool.snapshot();
    assert_eq!((now.pinned, now.queued, now.draining), (2, 1, true));
    gate.open(3);
    for sent in pinned.into_iter().chain([queued]) {
        let reply = sent.reply().await;
        assert_eq!((reply.text(), back(&reply).is_empty()), ("through\n", false));
    }
    tokio::time::timeout(PATIENCE, drained).await.expect("the drain ends");
    let now = front.pool.snapshot();
    assert_eq!((now.instances.live(), now.responded, now.failed), (0, 3, 0));
    assert_eq!((now.retired.total(), now.unaccounted()), (now.starts, 0));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_pinned_requests() {
    let gate = Gate::closed();
    let front = Front::start(guests(|builder| builder).await, gate.app()).await;
    let sent = Sent::get(front.addr, Script("features 2", "kept"));
    gate.until_come(1).await;
    let drained = front.pool.drain();
    front.pool.stop();
    tokio::time::timeout(PATIENCE, drained).await.expect("the drain ends");
    gate.open(1);
    let reply = sent.reply().await;
    assert_eq!(reply.status, 503, "{reply:?}");
    let now = front.pool.snapshot();
    assert_eq!((now.instances.live(), now.unaccounted()), (0, 0));
}

//! Guests that take for ever, in either half.

use std::time::Duration;

use millpond::Reason;
use millpond_tests::Front;

use crate::setup::{PROTOCOLS, Script, Sent, assert_failure, guests, says};

const TIMEOUT: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_guest_is_a_504_in_either_half() {
    let pool = guests(|builder| builder.limits(|limits| limits.request_timeout = TIMEOUT)).await;
    let front = Front::start(pool, says("hello")).await;
    let scripts = [Script("spin", ""), Script("", "spin"), Script("features 2", "spin")];
    for (n, (protocol, script)) in PROTOCOLS
        .into_iter()
        .flat_map(|protocol| scripts.map(|script| (protocol, script)))
        .enumerate()
    {
        let spins = Sent::get_over(front.addr, protocol, script);
        front.until("it runs", |now| now.busy == 1).await;
        let mut others = front.connect(protocol).await;
        assert_eq!(Script("", "kept").get(&mut others).await.text(), "hello", "beside it");
        let reply = spins.reply().await;
        assert_failure(&reply, 504, "http_response_timeout", "request timeout");
        let timeouts = |now: &millpond::Snapshot| now.retired.get(Reason::Timeout) == n as u64 + 1;
        let now = front.until("the guest is gone", timeouts).await;
        assert_eq!((now.retired.total(), now.failed), (n as u64 + 1, n as u64 + 1));
    }
}

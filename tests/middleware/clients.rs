//! Clients that leave, or stop reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use millpond::Reason;
use millpond_tests::{Client, Front};

use crate::setup::{Gate, PROTOCOLS, Script, Sent, begin, guests, mirrored, out, streams};

#[tokio::test]
async fn leaving_during_the_handler_ends_guest() {
    let gate = Gate::closed();
    let front = Front::start(guests(|builder| builder).await, gate.app()).await;
    for (protocol, left) in PROTOCOLS.into_iter().zip(1..) {
        let sent = Sent::get_over(front.addr, protocol, Script("features 2", "kept"));
        gate.until_come(1).await;
        front.until("it is pinned", |now| now.pinned == 1).await;
        sent.leave();
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.pinned, now.cancelled, now.failed), (0, left, 0));
        assert_eq!((now.retired.get(Reason::Cancelled), now.retired.total()), (left, left));
    }
    gate.open(3);
    let mut client = front.connect(PROTOCOLS[0]).await;
    assert_eq!(out(&Script("requests", "").get(&mut client).await), "1", "a fresh one");
}

#[tokio::test]
async fn leaving_the_response_ends_the_guest() {
    let (app, mut streams) = streams();
    let front = Front::start(guests(|builder| builder).await, app).await;
    for (protocol, left) in PROTOCOLS.into_iter().zip(1..) {
        let mut client = front.connect(protocol).await;
        let script = Script("", "kept");
        let (mut stream, response) = begin(&front, &mut client, &mut streams, script).await;
        drop((response, client));
        // Over HTTP/1.1, the server learns that the client has left only when it writes.
        let _ = stream.send_data(Bytes::from(vec![0; 1 << 20])).await;
        let _ = stream.send_data(Bytes::from(vec![0; 1 << 20])).await;
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.streaming, now.responded), (0, left));
        assert_eq!((now.retired.get(Reason::Cancelled), now.retired.total()), (left, left));
    }
}

#[tokio::test]
async fn leaving_a_body_ends_the_guest_reading_it() {
    let front = mirrored().await;
    for (protocol, left) in PROTOCOLS.into_iter().zip(1..) {
        let (mut body, channel) = Channel::new(1);
        let addr = front.addr;
        let sent = tokio::spawn(async move {
            let mut client = Client::connect(addr, protocol).await;
            let script = Script("features 1;drink 0 99", "");
            let post = |request: http::request::Builder| request.method("POST");
            script.send(&mut client, post, channel.boxed()).await
        });
        body.send_data(Bytes::from_static(b"one")).await.expect("the client sends it");
        front.until("the guest reads", |now| now.busy == 1).await;
        sent.abort();
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.busy, now.responded, now.retired.total()), (0, 0, left));
    }
    let mut client = front.connect(PROTOCOLS[0]).await;
    assert_eq!(out(&Script("requests", "").get(&mut client).await), "1", "a fresh one");
}

#[tokio::test]
async fn a_client_that_stops_reading_loses_guest() {
    let (app, mut streams) = streams();
    let stall = Duration::from_millis(300);
    let pool = guests(|builder| builder.limits(|limits| limits.body_stall_timeout = stall)).await;
    let front = Front::start(pool, app).await;
    for (protocol, lost) in PROTOCOLS.into_iter().zip(1..) {
        let mut client = front.connect(protocol).await;
        let script = Script("", "kept");
        let (stream, response) = begin(&front, &mut client, &mut streams, script).await;
        let enough = Arc::new(AtomicBool::new(false));
        let flood = tokio::spawn({
            let (mut stream, enough) = (stream, Arc::clone(&enough));
            async move {
                while !enough.load(Relaxed)
                    && stream.send_data(Bytes::from(vec![0; 1 << 16])).await.is_ok()
                {
                }
            }
        });
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.retired.get(Reason::Timeout), now.retired.total()), (lost, lost));
        enough.store(true, Relaxed);
        assert!(millpond_tests::whole(response).await.broken, "{protocol:?}: not whole");
        flood.await.expect("no panic");
    }
}

//! Guests that send headers and trailers which they may not, or too many.

use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::{empty, whole};

use super::{WAYS, ends, innocents, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_headers_are_refused() {
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        for protocol in [Http1, H2c] {
            let mut client = server.connect(protocol).await;
            let request = client.request("/set-headers").header("te", "trailers");
            let reply = client.send(request.body(empty()).expect("good")).await.expect("a head");
            let reply = whole(reply).await;
            assert_eq!((reply.status.as_u16(), reply.broken), (200, false), "{reply:?}");
            assert_eq!(reply.text(), "[]\n", "{way:?} {protocol:?}: these were taken");
            let trailers = reply.trailers.expect("the good one");
            assert_eq!((trailers.len(), &trailers["x-checksum"]), (1, &"42".parse().unwrap()));
            let mut names: Vec<_> = reply.headers.keys().map(|name| name.as_str()).collect();
            names.retain(|name| !["date", "transfer-encoding", "trailer"].contains(name));
            assert!(names.is_empty(), "{names:?}");
            innocents(&server).await;
        }
        ends(&server).await;
    }
}

/// More than the host holds for a guest, and more than a client takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_headers_harm_no_others() {
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        for n in [200, 2000, 20_000] {
            for protocol in [Http1, H2c] {
                let mut client = server.connect(protocol).await;
                let request = client.request(&format!("/set-headers?n={n}")).body(empty());
                // The client may find it too large.
                let head = client.send(request.expect("good")).await;
                let head = head.map(|response| response.status().as_u16());
                println!("{way:?} {protocol:?}: {n} headers, {head:?}");
                // Not by the client: the guest is stopped before there is a head.
                assert!(n < 2000 || matches!(head, Ok(500)), "{way:?} {protocol:?} {n}: {head:?}");
            }
            server.until("it is over", |now| now.busy + now.streaming == 0).await;
            innocents(&server).await;
        }
        ends(&server).await;
    }
}

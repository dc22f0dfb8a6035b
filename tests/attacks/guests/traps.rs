//! Guests that trap: whatever the client has by then, it does not look whole.

use futures::future::join_all;
use millpond::Reason;
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::{Protocol, Server, empty, whole};

use super::{WAYS, ends, innocents, serve};

/// Traps of each kind of guest, half of them over each protocol. By hand: 10 000.
const TRAPS: usize = 300;

/// Before the head, right after it, within the body, and after more than any buffer holds.
const PATHS: [&str; 4] = ["/trap-at", "/trap-at?n=0", "/trap-at?n=1", "/trap-at?n=200000"];

/// Whether a response looks whole.
async fn looks_whole(server: &Server, protocol: Protocol, path: &str) -> bool {
    let mut client = server.connect(protocol).await;
    let request = client.request(path).body(empty()).expect("a good request");
    // The connection may break before the head is out, which is honest as well.
    let Ok(response) = client.send(request).await else { return false };
    let reply = whole(response).await;
    assert!([200, 500].contains(&reply.status.as_u16()), "{reply:?}");
    reply.status == 200 && !reply.broken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trap_looks_whole() {
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        for round in 0..TRAPS / 6 {
            let protocols = if round % 2 == 0 { [Http1, H2c] } else { [H2c, Http1] };
            let path = |n: usize| PATHS[(round + n) % PATHS.len()];
            let traps = join_all((0..6).map(|n| looks_whole(&server, protocols[n % 2], path(n))));
            let (traps, ()) = tokio::join!(traps, async {
                // Where instances are shared, those beside a trap go with it.
                if way.1 == 1 {
                    innocents(&server).await;
                }
            });
            assert!(traps.iter().all(|whole| !whole), "{way:?}, {round}: {traps:?}");
        }
        server.until("what trapped is gone", |now| now.busy + now.streaming == 0).await;
        innocents(&server).await;
        let now = ends(&server).await;
        println!("{way:?}: {} traps", now.retired.get(Reason::Trap));
        if way.1 == 1 {
            assert_eq!(now.retired.get(Reason::Trap) as usize, TRAPS / 6 * 6);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recursion_ends_with_a_trap() {
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        for _ in 0..10 {
            let reply = server.get("/recurse").await;
            assert_eq!(reply.status, 500, "{reply:?}");
        }
        innocents(&server).await;
        assert_eq!(ends(&server).await.retired.get(Reason::Trap), 10);
    }
}

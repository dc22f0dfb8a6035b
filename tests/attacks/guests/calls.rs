//! Guests that call the host with what it does not expect.

use millpond::HttpVersion::P3;
use millpond::{Output, WasiHost, WasmPool};
use millpond_tests::{Server, pool_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{WAYS, ends, innocents, serve};

/// Answers every connection with a body of two bytes.
async fn upstream() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                // Its head comes in one piece, or nothing does.
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    drop(stream.write_all(answer).await);
                }
            });
        }
    });
    addr
}

/// RUSTSEC-2026-0320: timeouts that no clock can be asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_timeouts_harm_no_others() {
    let addr = upstream().await;
    let ask = async |server: &Server, timeouts: &str| {
        let reply = server.get(&format!("/timeouts?url=http://{addr}/&{timeouts}")).await;
        assert_eq!(reply.status, 200, "{timeouts}: {reply:?}");
        reply.text().to_owned()
    };
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        assert_eq!(ask(&server, "").await, "ok 2\n");
        for name in ["connect", "first", "between"] {
            for nanos in [0, 1, i64::MAX as u64, u64::MAX] {
                let said = ask(&server, &format!("{name}={nanos}")).await;
                println!("{way:?} {name}={nanos}: {said}");
                // Long ones are as good as none, and short ones may be.
                let good = said == "ok 2\n" || (nanos <= 1 && said.contains("Timeout"));
                assert!(good, "{way:?} {name}={nanos}: {said}");
            }
        }
        let most = u64::MAX;
        let all = ask(&server, &format!("connect={most}&first={most}&between={most}")).await;
        assert_eq!(all, "ok 2\n");
        innocents(&server).await;
        let now = ends(&server).await;
        assert_eq!(now.retired.get(millpond::Reason::Trap), 0);
    }
}

/// RUSTSEC-2026-0268: sizes of reads and writes beyond what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_sizes_of_streams_trap() {
    for way in WAYS.into_iter().filter(|way| way.0 == P3) {
        let server = serve(way, |builder| builder).await;
        for op in ["read", "write", "both"] {
            let reply = server.get(&format!("/stream-size?op={op}&n=16")).await;
            assert_eq!(reply.status, 200, "{op}: {reply:?}");
            for n in [1 << 27, (1 << 28) - 1, 1 << 28, u32::MAX - 15, u32::MAX] {
                let reply = server.get(&format!("/stream-size?op={op}&n={n}")).await;
                assert_eq!(reply.status, 500, "{op} of {n}: {reply:?}");
            }
        }
        let made = server.get("/waitable-sets?n=1000").await;
        assert_eq!(made.status, 200, "{made:?}");
        let made = server.get("/waitable-sets?n=100000").await;
        assert_eq!(made.status, 500, "{made:?}");
        innocents(&server).await;
        ends(&server).await;
    }
}

/// What a guest of 0.3 prints in one write is taken in pieces: no call holds a thread for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_print_is_taken_in_pieces() {
    // Cut, so that it is not in the way of the tests' own output.
    let host = WasiHost::new().output(Output::Plain).max_output(1);
    let server = Server::start(pool_of(P3, WasmPool::builder(host)).await).await;
    for (n, most) in [(1000, 1000), (65_536, 65_536), (16 << 20, 65_536)] {
        let reply = server.get(&format!("/print-once?n={n}")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, &*most.to_string()), "{n}");
    }
    innocents(&server).await;
    ends(&server).await;
}

use millpond::Reason;
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::whole;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::setup::{Held, Sent, Setup, assert_answer, assert_failure};

async fn a_trap_before_the_head_is_500(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    for protocol in [Http1, H2c] {
        let reply = server.connect(protocol).await.get("/trap").await;
        assert_failure(&reply, 500, "proxy_internal_error", "guest trapped");
        server.until("the instance is gone", |now| now.instances.live() == 0).await;
    }
    let now = server.pool.snapshot();
    assert_eq!((now.retired.get(Reason::Trap), now.retired.total()), (2, 2));
    assert_eq!((now.submitted, now.failed, now.responded), (2, 2, 0));
    assert_answer(&server.get("/counter").await, "1\n");
}
setups!(a_trap_before_the_head_is_500);

async fn a_trap_in_a_body_breaks_the_body(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    for protocol in [Http1, H2c] {
        let reply = server.connect(protocol).await.get("/trap-mid-body").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "partial\n"));
        assert!(reply.broken, "{protocol:?}: a body cut short never looks complete");
        server.until("the instance is gone", |now| now.instances.live() == 0).await;
    }
    assert_eq!(server.pool.snapshot().retired.get(Reason::Trap), 2);
    assert_answer(&server.get("/hello").await, "hello\n");
}
setups!(a_trap_in_a_body_breaks_the_body);

async fn a_cut_http1_body_has_no_final_chunk(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.expect("it listens");
    let request = "GET /trap-mid-body HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(millpond_tests::PATIENCE, stream.read_to_end(&mut answer));
    // Closed or reset, both are honest.
    let _ = read.await.expect("the connection closes");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("transfer-encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("8\r\npartial\n\r\n"), "{answer}");
}
setups!(a_cut_http1_body_has_no_final_chunk);

async fn a_trap_does_not_fail_what_waits(setup: Setup) {
    let server = setup
        .serve(|limits| {
            limits.max_instances = 1;
            limits.concurrency = 2;
        })
        .await;
    let neighbour = Held::hold(&server).await;
    let gate = Held::hold(&server).await;
    let trap = Sent::get(&server, "/trap");
    server.until("the trap waits", |now| now.queued == 1).await;
    let mut waiting = Vec::new();
    for ahead in 1..4 {
        waiting.push(Sent::get(&server, "/counter"));
        server.until("it waits", |now| now.queued == ahead + 1).await;
    }
    assert_eq!(server.pool.snapshot().starts, 1);

    // The trap takes the seat of this one, and the instance is full again.
    assert_answer(&gate.let_go().await, "0");
    assert_failure(&trap.reply().await, 500, "proxy_internal_error", "guest trapped");
    assert_failure(&neighbour.reply().await, 500, "proxy_internal_error", "guest trapped");
    let mut counts = Vec::new();
    for sent in waiting {
        counts.push(sent.reply().await.text().to_owned());
    }
    counts.sort();
    assert_eq!(counts, ["1\n", "2\n", "3\n"], "all on the next instance");
    let now = server.pool.snapshot();
    assert_eq!((now.starts, now.retired.get(Reason::Trap)), (2, 1));
    assert_eq!((now.responded, now.failed), (4, 2));
}
setups!(a_trap_does_not_fail_what_waits: p3_shared);

async fn a_trap_breaks_its_neighbours_bodies(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let mut client = server.connect(Http1).await;
    // Its client has the head: a connection that breaks before that has none to show.
    let drip = client.head_of("/drip?n=1000000&ms=10").await;
    assert_eq!(server.get("/trap").await.status, 500);
    let drip = whole(drip).await;
    assert_eq!((drip.status.as_u16(), drip.broken), (200, true));
    assert_eq!(server.pool.snapshot().starts, 1, "both were on the same instance");
}
setups!(a_trap_breaks_its_neighbours_bodies: p3_shared);

async fn a_trap_does_not_reach_other_instances(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let drip = Sent::get(&server, "/drip?n=20&ms=20");
    let held = Held::send(&server);
    server.until("both run", |now| (now.streaming, now.busy) == (1, 1)).await;
    for _ in 0..5 {
        assert_eq!(server.get("/trap").await.status, 500);
    }
    assert_answer(&held.let_go().await, "0");
    let drip = drip.reply().await;
    assert_eq!((drip.text().lines().count(), drip.broken), (20, false));
}
setups!(a_trap_does_not_reach_other_instances: p2_fresh p2_reused p3_exclusive);

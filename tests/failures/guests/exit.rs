use millpond::Reason;
use millpond_tests::Protocol::{H2c, Http1};

use crate::setup::{Held, Setup, all_idle, assert_answer, assert_failure};

async fn an_exit_before_the_answer_is_500(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    for path in ["/exit", "/exit?code=3"] {
        let reply = server.get(path).await;
        assert_failure(&reply, 500, "proxy_internal_error", "guest exited");
        server.until("the instance is gone", |now| now.instances.live() == 0).await;
    }
    let now = server.pool.snapshot();
    assert_eq!((now.retired.get(Reason::Exit), now.retired.total()), (2, 2));
    assert_eq!((now.failed, now.responded), (2, 0));
    assert_answer(&server.get("/counter").await, "1\n");
}
setups!(an_exit_before_the_answer_is_500);

async fn an_exit_after_the_answer_leaves_it_whole(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    for round in 1..=20 {
        for (protocol, exits) in [(Http1, round * 2 - 1), (H2c, round * 2)] {
            let reply = server.connect(protocol).await.get("/exit?when=after").await;
            assert_answer(&reply, "exiting\n");
            let what = "the instance is gone";
            let now = server.until(what, |now| now.instances.live() == 0).await;
            assert_eq!((now.retired.get(Reason::Exit), now.retired.total()), (exits, exits));
        }
    }
    assert_eq!(server.pool.snapshot().failed, 0);
    assert_answer(&server.get("/counter").await, "1\n");
}
setups!(an_exit_after_the_answer_leaves_it_whole);

async fn an_exit_fails_its_neighbours(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    let held = Held::hold(&server).await;
    assert_failure(&server.get("/exit").await, 500, "proxy_internal_error", "guest exited");
    assert_failure(&held.reply().await, 500, "proxy_internal_error", "guest exited");
    assert_eq!(server.pool.snapshot().starts, 1, "both were on the same instance");
}
setups!(an_exit_fails_its_neighbours: p3_shared);

async fn setting_no_response_is_500(setup: Setup) {
    let server = setup.serve(|_| ()).await;
    // 0.3 has no way to return nothing: there the guest returns an internal error.
    let details = match setup {
        Setup::P2Fresh | Setup::P2Reused => "guest set no response",
        Setup::P3Exclusive | Setup::P3Shared => "guest answered with an error",
    };
    assert_answer(&server.get("/counter").await, "1\n");
    all_idle(&server).await;
    let reply = server.get("/no-response").await;
    assert_failure(&reply, 500, "proxy_internal_error", details);
    all_idle(&server).await;
    let count = if setup.is_reused() { "2\n" } else { "1\n" };
    assert_answer(&server.get("/counter").await, count);
    let now = server.until("it is counted", |now| now.failed == 1).await;
    assert_eq!((now.responded, now.retired.get(Reason::Trap)), (2, 0));
}
setups!(setting_no_response_is_500);

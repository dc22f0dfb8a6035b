use millpond::HttpVersion::{P2, P3};
use millpond::Reason;
use millpond_tests::{Server, pool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_the_middle_of_a_body_breaks_the_body() {
    for version in [P2, P3] {
        let server = Server::start(pool(version, |builder| builder).await).await;
        let reply = server.get("/trap-mid-body").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "partial\n"));
        assert!(reply.broken, "{version:?}: a body cut short never looks complete");
        server.until("the instance is gone", |now| now.instances.live() == 0).await;
        assert_eq!(server.pool.snapshot().retired.get(Reason::Trap), 1);
        assert_eq!(server.get("/hello").await.status, 200);
    }
}

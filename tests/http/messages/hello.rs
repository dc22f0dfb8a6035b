use millpond::HttpVersion::{P2, P3};
use millpond_tests::{Protocol, Server, pool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_in_all_versions_and_protocols() {
    for version in [P2, P3] {
        let server = Server::start(pool(version, |builder| builder).await).await;
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let reply = server.connect(protocol).await.get("/hello").await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello\n"));
        }
    }
}

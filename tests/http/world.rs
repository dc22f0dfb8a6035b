//! What a guest is given: environment, directories, randomness.

use std::path::PathBuf;

use millpond::{MaxRequests, WasiHost, WasmPool};
use millpond_tests::{Server, pool_of};

use crate::support::{WAYS, Way, server};

async fn serve((version, concurrency): Way, host: WasiHost) -> Server {
    let builder = WasmPool::builder(host).limits(move |limits| limits.concurrency = concurrency);
    Server::start(pool_of(version, builder).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_only_its_environment() {
    for way in WAYS {
        let host = WasiHost::new().env("GREETING", "hello").env("EMPTY", "");
        let server = serve(way, host).await;
        let reply = server.get("/env").await;
        assert_eq!(reply.text(), "EMPTY=\nGREETING=hello\nINSTANCE_ID=1\n", "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_only_its_directory() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("given");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file.txt"), "in the directory\n").unwrap();
    std::fs::write(dir.with_file_name("outside.txt"), "outside\n").unwrap();
    for way in WAYS {
        let server = serve(way, WasiHost::new().dir(&dir, "/data")).await;
        let reply = server.get("/read?path=/data/file.txt").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "in the directory\n"), "{way:?}");
        let outside = dir.with_file_name("outside.txt");
        for path in ["/data/../outside.txt", "/etc/passwd", outside.to_str().unwrap()] {
            let reply = server.get(&format!("/read?path={path}")).await;
            assert_eq!(reply.status, 404, "{way:?} {path}: {}", reply.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomness_differs_between_instances() {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(1)).await;
        let (one, two) = (server.get("/random").await, server.get("/random").await);
        for reply in [&one, &two] {
            assert_eq!(reply.body.len(), 16, "{way:?}");
            assert!(reply.text().bytes().all(|byte| byte.is_ascii_hexdigit()), "{way:?}");
        }
        assert_ne!(one.text(), two.text(), "{way:?}");
        assert_eq!(server.pool.snapshot().starts, 2);
    }
}

//! Guests that reach for what they must not: the server's own addresses, private networks, sockets, files.

use std::net::SocketAddr;
use std::path::PathBuf;

use millpond::HttpVersion;
use millpond_tests::{Process, get};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const VERSIONS: [HttpVersion; 2] = [HttpVersion::P2, HttpVersion::P3];

/// A service that answers each request with the same response.
async fn service(response: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(response).await;
            });
        }
    });
    addr
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes";

/// A directory for a test, with this in a file.
fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), "there\n").unwrap();
    dir
}

async fn fetch(process: &Process, url: &str) -> (u16, String) {
    process.get(&format!("/fetch?url={url}")).await
}

const DENIED: &str = "ErrorCode::HttpRequestDenied\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_guest_reaches_the_servers_addresses() {
    let other = service(OK).await;
    for version in VERSIONS {
        for allow in [None, Some("--allow-outbound=127.0.0.0/8")] {
            let args = ["--admin=127.0.0.1:0", "--shutdown-addr=127.0.0.1:0"];
            let args: Vec<_> = args.into_iter().chain(allow).collect();
            let mut process = Process::start(version, &args).await;
            let admin = process.announced("Admin on http://").await;
            let shutdown = process.announced("Listening for shutdown on tcp://").await;
            let mut denied = 0;
            for port in [process.addr.port(), admin.port(), shutdown.port()] {
                for host in [
                    "127.0.0.1",
                    "localhost",
                    "LocalHost",
                    "0.0.0.0",
                    "2130706433",
                    "0x7f.1",
                    "0177.0.0.1",
                    "[::ffff:127.0.0.1]",
                    "[::ffff:7f00:1]",
                    "[::]",
                ] {
                    let answer = fetch(&process, &format!("http://{host}:{port}/metrics")).await;
                    assert_eq!(answer, (502, DENIED.into()), "{version:?} {host} {allow:?}");
                    denied += 1;
                }
            }
            let answer = fetch(&process, &format!("http://{other}/")).await;
            assert_eq!(answer, (200, "yes".into()), "another server may be reached");
            let line = format!("millpond_outbound_denied_total {denied}");
            process.measures(admin, &line).await;
            process.measures(admin, "millpond_descriptors{share=\"outbound\"} 0").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_listener_is_unreachable() {
    let mut process = Process::start(HttpVersion::P2, &["--admin=0.0.0.0:0"]).await;
    let admin = process.announced("Admin on http://").await;
    let port = admin.port();
    assert_eq!(get(SocketAddr::from(([127, 0, 0, 1], port)), "/livez").await.0, 200);
    for host in ["127.0.0.1", "127.8.9.10", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost"] {
        let answer = fetch(&process, &format!("http://{host}:{port}/metrics")).await;
        assert_eq!(answer, (502, DENIED.into()), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_addresses_can_be_denied() {
    let other = service(OK).await;
    let named = format!("--allow-outbound=127.0.0.1:{}", other.port());
    for version in VERSIONS {
        let open = Process::start(version, &[]).await;
        let closed = Process::start(version, &["--deny-private"]).await;
        let named = Process::start(version, &["--deny-private", &named]).await;
        // Loopback alone: what is denied here must not be sent to a network by a build that lets it pass. Link-local and
        // the others are in the policy's own tests, which connect to nothing.
        let port = other.port();
        for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"] {
            let answer = fetch(&closed, &format!("http://{host}:{port}/")).await;
            assert_eq!(answer, (502, DENIED.into()), "{version:?} {host}");
        }
        for process in [&open, &named] {
            let answer = fetch(process, &format!("http://127.0.0.1:{port}/")).await;
            assert_eq!(answer, (200, "yes".into()), "{version:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_services_head_is_bounded() {
    // 200 KiB in one header: hyper's own bound is 400 KiB.
    let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    head.resize(200 << 10, b'x');
    head.extend_from_slice(b"\r\ncontent-length: 0\r\n\r\n");
    let hostile = service(head.leak()).await;
    for version in VERSIONS {
        let process = Process::start(version, &[]).await;
        let (status, text) = fetch(&process, &format!("http://{hostile}/")).await;
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("HttpResponseHeaderSectionSize"), "{version:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_guest_makes_a_socket() {
    let process = Process::start(HttpVersion::P2, &[]).await;
    let (_, text) = process.get("/sockets").await;
    assert_eq!(text.matches("access-denied").count(), 2, "{text}");
    assert!(text.contains("permanent-resolver-failure"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_directory_is_not_written() {
    let dir = directory("read-only");
    for version in VERSIONS {
        let given = format!("--dir={}::/data::ro", dir.display());
        let process = Process::start(version, &[&given]).await;
        for path in ["/data/file", "/data/new"] {
            let (status, text) = process.get(&format!("/write?path={path}")).await;
            assert_eq!(status, 403, "{version:?} {path}: {text}");
        }
        assert_eq!(process.get("/read?path=/data/file").await, (200, "there\n".into()));
        assert!(!dir.join("new").exists());

        let given = format!("--dir={}::/data", dir.display());
        let process = Process::start(version, &[&given]).await;
        assert_eq!(process.get("/write?path=/data/written").await.0, 200);
        assert_eq!(process.get("/read?path=/data/written").await, (200, "written\n".into()));
    }
}

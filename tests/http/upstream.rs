//! `millpond serve --upstream`: a proxy, with middleware in front of a server that exists already. That server is another
//! `millpond`, or a socket where the test must say each byte.

mod breaks;

use bytes::Bytes;
use millpond::HttpVersion::P2;
use millpond_tests::{Client, PATIENCE, Process, Protocol, Reply, empty, full, until, whole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::middleware::{GUARD, WITNESS, file};
use crate::support::{Held, PROTOCOLS, Upload, held_back, pattern, read_exactly};

/// A proxy in front of the test guest.
async fn proxy(args: &[&str]) -> (Process, Process) {
    let upstream = Process::start(P2, &[]).await;
    let url = format!("--upstream=http://{}", upstream.addr);
    (Process::serve(&[&[&url[..]], args].concat()).await, upstream)
}

/// A proxy in front of a socket.
async fn before_socket(args: &[&str]) -> (Process, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("--upstream=http://{}", listener.local_addr().unwrap());
    (Process::serve(&[&[&url[..]], args].concat()).await, listener)
}

/// A connection to the upstream, and the head of the request on it.
async fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let head = head(&mut stream).await;
    (stream, head)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// All that comes until the peer closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    rest
}

/// A GET that is answered by the socket with these bytes, and the end of the connection.
async fn answered(
    process: &Process,
    listener: &TcpListener,
    protocol: Protocol,
    by: &str,
) -> Reply {
    let mut client = process.connect(protocol).await;
    let answer = async {
        let (mut stream, _) = accept(listener).await;
        stream.write_all(by.as_bytes()).await.unwrap();
    };
    tokio::join!(client.get("/"), answer).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_learns_host_and_client() {
    let (process, listener) = before_socket(&["-H", "x-tenant: one"]).await;
    for protocol in PROTOCOLS {
        let mut client = process.connect(protocol).await;
        let mut request = client
            .request("/request?a=b")
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-tenant", "forged")
            .header("x-other", "1");
        if protocol == Protocol::Http1 {
            request = request
                .header("connection", "x-named, upgrade")
                .header("x-named", "1")
                .header("upgrade", "websocket")
                .header("keep-alive", "timeout=9");
        }
        let request = request.body(empty()).unwrap();
        let answer = async {
            let (mut stream, head) = accept(&listener).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            head
        };
        let (response, head) = tokio::join!(client.send(request), answer);
        assert_eq!(response.unwrap().status(), 204, "{protocol:?}");
        let mut lines: Vec<_> = head.trim_end().lines().collect();
        assert_eq!(lines.remove(0), "GET /request?a=b HTTP/1.1", "{protocol:?}");
        lines.sort_unstable();
        let host = process.addr;
        let expected = [
            &format!("host: {host}"),
            "x-forwarded-for: 127.0.0.1",
            &format!("x-forwarded-host: {host}"),
            "x-forwarded-proto: http",
            "x-other: 1",
            "x-tenant: one",
        ];
        assert_eq!(lines, expected, "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstreams_hop_by_hop_fields_are_cut() {
    let (process, listener) = before_socket(&[]).await;
    for protocol in PROTOCOLS {
        let by = "HTTP/1.1 201 Created\r\nconnection: close, x-named\r\nx-named: 1\r\nx-other: 2\r\n\
                  keep-alive: timeout=5\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
        let reply = answered(&process, &listener, protocol, by).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (201, "hello"), "{protocol:?}");
        assert_eq!(reply.headers["x-other"], "2");
        for gone in ["connection", "keep-alive", "x-named", "content-length"] {
            assert!(!reply.headers.contains_key(gone), "{protocol:?} {gone}");
        }
    }
}

async fn send_all(mut upload: Upload, bytes: Vec<u8>) {
    for piece in bytes.chunks(64 * 1024) {
        upload.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_stream_both_ways_at_once() {
    let witness = file("witness-stream.wat", WITNESS);
    for middleware in [&[][..], &["--middleware", &witness]] {
        let (process, _upstream) = proxy(middleware).await;
        for protocol in PROTOCOLS {
            let mut client = process.connect(protocol).await;
            let (mut upload, body) = held_back();
            let request = client.request("/echo").method("POST").body(body).unwrap();
            let mut echo = client.send(request).await.unwrap().into_body();
            upload.send_data(Bytes::from_static(b"before")).await.unwrap();
            assert_eq!(read_exactly(&mut echo, 6).await, "before", "{protocol:?}");
            // More than all buffers on the way can hold.
            let bytes = pattern(20_000_000);
            let sending = tokio::spawn(send_all(upload, bytes.clone()));
            let echoed = http_body_util::BodyExt::collect(echo);
            let echoed = timeout(PATIENCE, echoed).await.unwrap().expect("a clean end");
            assert!(echoed.to_bytes() == bytes, "{protocol:?}: what came is what went");
            sending.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_and_answers_without_a_body_pass() {
    let (process, _upstream) = proxy(&[]).await;
    for protocol in PROTOCOLS {
        let mut client = process.connect(protocol).await;
        let request = client.request("/trailers").header("te", "trailers").body(empty()).unwrap();
        let reply = whole(client.send(request).await.unwrap()).await;
        assert_eq!(reply.text(), "body\n", "{protocol:?}");
        assert_eq!(reply.trailers.unwrap()["x-checksum"], "42", "{protocol:?}");
        for (method, path, status) in
            [("HEAD", "/bytes?n=5000&length=1", 200), ("GET", "/status?code=204", 204)]
        {
            let request = client.request(path).method(method).body(empty()).unwrap();
            let reply = whole(client.send(request).await.unwrap()).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (status, ""), "{protocol:?}");
            assert!(!reply.broken);
            if method == "HEAD" {
                assert_eq!(reply.headers["content-length"], "5000", "{protocol:?}");
            }
        }
        let request = client.request("/drain").method("GET").body(full("12345")).unwrap();
        let reply = whole(client.send(request).await.unwrap()).await;
        assert_eq!(reply.text(), "5", "{protocol:?}: a GET may have a body");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_upstream_are_kept() {
    let (process, listener) = before_socket(&[]).await;
    let mut client = process.connect(Protocol::Http1).await;
    let upstream = async {
        let (mut stream, _) = accept(&listener).await;
        for _ in 0..3 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            head(&mut stream).await;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast").await.unwrap();
        stream
    };
    let requests = async {
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text(), "ok");
        }
        assert_eq!(client.get("/").await.text(), "last");
    };
    let (_stream, ()) = tokio::join!(upstream, requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_bounded() {
    let upstream = Process::start(P2, &[]).await;
    let url = format!("--upstream=http://{}", upstream.addr);
    for protocol in PROTOCOLS {
        let flags = [
            &url,
            "--max-concurrent-requests=1",
            "--queue=1",
            "--queue-timeout=60s",
            "--admin=127.0.0.1:0",
        ];
        let mut process = Process::serve(&flags).await;
        let admin = process.announced("Admin on http://").await;
        let running = Held::send(process.addr, protocol).await;
        process.measures(admin, "millpond_upstream_requests{stage=\"running\"} 1").await;
        let queued = Held::send(process.addr, protocol).await;
        process.measures(admin, "millpond_upstream_requests{stage=\"queued\"} 1").await;
        let reply = process.connect(protocol).await.get("/hello").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (503, "overloaded\n"), "{protocol:?}");
        assert_eq!(reply.headers["retry-after"], "1");
        assert_eq!(running.finish().await.text(), "5");
        assert_eq!(queued.finish().await.text(), "5");
        process.measures(admin, "millpond_upstream_requests{stage=\"running\"} 0").await;
        process.measures(admin, "millpond_upstream_requests_total 2").await;
    }
    let flags = [&url, "--max-concurrent-requests=1", "--queue-timeout=1ms", "--admin=127.0.0.1:0"];
    let mut process = Process::serve(&flags).await;
    let admin = process.announced("Admin on http://").await;
    let running = Held::send(process.addr, Protocol::Http1).await;
    process.measures(admin, "millpond_upstream_requests{stage=\"running\"} 1").await;
    assert_eq!(process.get("/hello").await, (503, "queue timeout\n".to_owned()));
    assert_eq!(running.finish().await.text(), "5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_keeps_requests_from_the_upstream() {
    let guard = file("guard-upstream.wat", GUARD);
    let (mut process, _upstream) =
        proxy(&["--middleware", &guard, "--admin=127.0.0.1:0", "--no-logging-prefix"]).await;
    let admin = process.announced("Admin on http://").await;
    for protocol in PROTOCOLS {
        assert_eq!(process.connect(protocol).await.get("/hello").await.status, 401);
    }
    process.measures(admin, "millpond_upstream_requests_total 0").await;
    let mut client = process.connect(Protocol::Http1).await;
    let request = client.request("/hello").header("authorization", "me").body(empty()).unwrap();
    assert_eq!(whole(client.send(request).await.unwrap()).await.text(), "hello\n");
    process.measures(admin, "millpond_upstream_requests_total 1").await;
    let line = "millpond_requests_total{pool=\"middleware-1\",outcome=\"responded\"} 3";
    process.measures(admin, line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_running_requests_finish() {
    let witness = file("witness-drain.wat", WITNESS);
    for middleware in [&[][..], &["--middleware", &witness]] {
        for protocol in PROTOCOLS {
            let flags = [&["--admin=127.0.0.1:0", "--drain-timeout=1h"], middleware].concat();
            let (mut process, _upstream) = proxy(&flags).await;
            let admin = process.announced("Admin on http://").await;
            let held = Held::send(process.addr, protocol).await;
            process.measures(admin, "millpond_upstream_requests{stage=\"running\"} 1").await;
            process.signal("TERM");
            until("no connection is accepted any more", || {
                std::net::TcpStream::connect(process.addr).is_err().then_some(())
            })
            .await;
            let reply = held.finish().await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "5"), "{protocol:?}");
            assert_eq!(process.exit_code().await, Some(0), "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_the_whole_server_stays_one() {
    let (process, listener) = before_socket(&[]).await;
    let mut client = process.connect(Protocol::Http1).await;
    let request = client.request("*").method("OPTIONS").body(empty()).unwrap();
    let answer = async {
        let (mut stream, head) = accept(&listener).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        head
    };
    let (response, head) = tokio::join!(client.send(request), answer);
    assert_eq!(response.unwrap().status(), 204);
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_are_refused() {
    let (process, _upstream) = proxy(&[]).await;
    let mut stream = TcpStream::connect(process.addr).await.unwrap();
    stream.write_all(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n").await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{head}");
    // Two hosts, and none.
    for hosts in ["host: a\r\nhost: b\r\n", ""] {
        let mut stream = TcpStream::connect(process.addr).await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await.unwrap();
        let head = self::head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    }
    let _: Client = process.connect(Protocol::Http1).await;
}

//! What a guest sees of a request, and which requests none sees.

use std::net::SocketAddr;

use millpond_tests::{PATIENCE, Protocol, empty, whole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PROTOCOLS, WAYS, server};

/// Sends bytes as they are, and reads to the end of the connection.
async fn raw(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut response)).await;
    read.expect("the connection closes in good time").unwrap();
    String::from_utf8(response).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_learns_its_host_from_the_header() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        let response = raw(
            server.addr,
            b"GET /request?a=b HTTP/1.1\r\nhost: example.com:81\r\nx-one: 1\r\nconnection: close\r\n\r\n",
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        for line in [
            "method: GET\n",
            "scheme: http\n",
            "authority: example.com:81\n",
            "path-with-query: /request?a=b\n",
            "x-one: 1\n",
        ] {
            assert!(response.contains(line), "{way:?}: no {line:?} in {response}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_look_alike_to_the_guest() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            let request = client.request("/request?x=%20").method("PATCH").header("x-two", "2");
            let reply = whole(client.send(request.body(empty()).unwrap()).await.unwrap()).await;
            let text = reply.text();
            let expected = format!(
                "method: PATCH\nscheme: http\nauthority: {}\npath-with-query: /request?x=%20\n",
                server.addr
            );
            assert!(text.starts_with(&expected), "{way:?} {protocol:?}: {text}");
            assert!(text.contains("\nx-two: 2\n"), "{way:?} {protocol:?}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_agrees_with_the_host() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for (host, line) in [
            ("two.example", "HTTP/1.1 400 Bad Request\r\n"),
            ("ONE.example:80", "authority: one.example\n"),
        ] {
            let request = format!(
                "GET http://one.example/request HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
            );
            let response = raw(server.addr, request.as_bytes()).await;
            assert!(response.contains(line), "{way:?}: {response}");
        }
    }
}

/// Each must be refused before it reaches a guest.
async fn is_refused(hosts: &[&str]) {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        let hosts: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
        let request = format!("GET /hello HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let response = raw(server.addr, request.as_bytes()).await;
        assert!(
            response.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{way:?} {hosts:?}: {response}"
        );
        assert!(
            response.contains(
                "\r\nproxy-status: millpond; error=http_request_error; details=\"bad request\"\r\n"
            ),
            "{way:?} {hosts:?}: {response}"
        );
        let snapshot = server.pool.snapshot();
        assert_eq!((snapshot.starts, snapshot.submitted), (0, 0), "{way:?}: no guest is bothered");
        assert_eq!(server.get("/hello").await.text(), "hello\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_host_is_refused() {
    is_refused(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_two_hosts_is_refused() {
    is_refused(&["a", "b"]).await;
    is_refused(&["a", "a"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_host_is_refused() {
    for host in ["", "a b", "a/b", "http://a", "[::1"] {
        is_refused(&[host]).await;
    }
}

// RFC 9110, section 7.2: Host = uri-host [ ":" port ], and port = *DIGIT.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_a_user_is_refused() {
    is_refused(&["user@a"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_a_bad_port_is_refused() {
    is_refused(&["a:b"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_disturbs_no_other() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        let held = crate::support::Held::send(server.addr, Protocol::Http1).await;
        server.until("it is in a guest", |now| now.busy == 1).await;
        let response = raw(server.addr, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{way:?}: {response}");
        assert_eq!(held.finish().await.text(), "5", "{way:?}");
        assert_eq!(server.pool.snapshot().starts, 1, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_needs_no_host() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        let response = raw(server.addr, b"GET /request HTTP/1.0\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{way:?}: {response}");
        assert!(response.contains("scheme: http\n"), "{way:?}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfer_encoding_beats_content_length() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        // Read by its content-length, the body would hide a request.
        let response = raw(
            server.addr,
            b"POST /drain HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\ntransfer-encoding: chunked\r\n\r\n\
              3\r\nabc\r\n0\r\n\r\n",
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{way:?}: {response}");
        assert!(response.contains("\r\n\r\n1\r\n3\r\n0\r\n"), "{way:?}: {response}");
        assert_eq!(server.pool.snapshot().submitted, 1);
    }
}

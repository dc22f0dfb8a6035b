//! Whatever breaks, at the upstream or at the client, does not look whole to the other, and is let go.

use bytes::Bytes;
use http::Method;
use millpond_tests::{PATIENCE, empty, whole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{accept, answered, before_socket, rest};
use crate::middleware::{WITNESS, file};
use crate::support::{PROTOCOLS, held_back, proxy_status, read_exactly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_not_there_is_502() {
    let (process, listener) = before_socket(&[]).await;
    drop(listener);
    for protocol in PROTOCOLS {
        for method in [Method::GET, Method::HEAD] {
            let mut client = process.connect(protocol).await;
            let request = client.request("/").method(method.clone()).body(empty()).unwrap();
            let reply = whole(client.send(request).await.unwrap()).await;
            assert_eq!(reply.status, 502, "{protocol:?}");
            let text = if method == Method::HEAD { "" } else { "upstream failed\n" };
            assert_eq!(reply.text(), text, "{protocol:?}: nothing of the cause");
            assert!(proxy_status(&reply).unwrap().contains("upstream failed"), "{protocol:?}");
        }
    }
    process.logs("Connection refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaking_before_the_head_is_502() {
    let (process, listener) = before_socket(&[]).await;
    for protocol in PROTOCOLS {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(256 * 1024));
        for by in [
            "",
            &long,
            "HTTP/1.1 200 OK\r\ncontent-le",
            "220 mail.example ESMTP\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\nbytes",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ] {
            let reply = answered(&process, &listener, protocol, by).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text()),
                (502, "upstream failed\n"),
                "{protocol:?} {:?}",
                &by[..by.len().min(80)]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_head_is_504_and_closes_upstream() {
    let (process, listener) = before_socket(&["--request-timeout=100ms"]).await;
    for protocol in PROTOCOLS {
        let mut client = process.connect(protocol).await;
        let silent = async {
            let (mut stream, _) = accept(&listener).await;
            assert_eq!(rest(&mut stream).await, b"", "it is closed");
        };
        let (reply, ()) = tokio::join!(client.get("/"), silent);
        assert_eq!((reply.status.as_u16(), reply.text()), (504, "request timeout\n"));
        assert!(proxy_status(&reply).unwrap().contains("http_response_timeout"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_body_breaks_for_the_client() {
    let witness = file("witness-broken.wat", WITNESS);
    for middleware in [&[][..], &["--middleware", &witness]] {
        let (process, listener) = before_socket(middleware).await;
        for protocol in PROTOCOLS {
            for framing in [
                "content-length: 10\r\n\r\nhello",
                "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            ] {
                let mut client = process.connect(protocol).await;
                let answer = async {
                    let (mut stream, _) = accept(&listener).await;
                    let head = format!("HTTP/1.1 200 OK\r\n{framing}");
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream
                };
                let (mut response, stream) = tokio::join!(client.head_of("/"), answer);
                assert_eq!(read_exactly(response.body_mut(), 5).await, "hello");
                drop(stream);
                assert!(whole(response).await.broken, "{protocol:?} {framing:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_sees_a_client_leave() {
    let (process, listener) = before_socket(&[]).await;
    for protocol in PROTOCOLS {
        // In the middle of its body: that must not look whole.
        let mut client = process.connect(protocol).await;
        let (mut upload, body) = held_back();
        let request = client.request("/").method("POST").body(body).unwrap();
        let sending = tokio::spawn(async move { drop(client.send(request).await) });
        let (mut stream, head) = accept(&listener).await;
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        upload.send_data(Bytes::from_static(b"hello")).await.unwrap();
        let mut chunk = [0; 10];
        timeout(PATIENCE, stream.read_exact(&mut chunk)).await.unwrap().unwrap();
        assert_eq!(&chunk, b"5\r\nhello\r\n", "{protocol:?}");
        sending.abort();
        assert_eq!(rest(&mut stream).await, b"", "{protocol:?}: no last chunk");

        // While it waits for the head.
        let mut client = process.connect(protocol).await;
        let waiting = tokio::spawn(async move { drop(client.get("/").await) });
        let (mut stream, _) = accept(&listener).await;
        waiting.abort();
        assert_eq!(rest(&mut stream).await, b"", "{protocol:?}");

        // In the middle of the answer.
        let mut client = process.connect(protocol).await;
        let answer = async {
            let (mut stream, _) = accept(&listener).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
            stream
        };
        let (response, mut stream) = tokio::join!(client.head_of("/"), answer);
        drop((response, client));
        assert_eq!(rest(&mut stream).await, b"", "{protocol:?}");
    }
}

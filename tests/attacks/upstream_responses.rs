//! An upstream that answers with more than one response, or with one that reads as several: each client gets its own, whole,
//! or is told that there is none.

use millpond_tests::{PATIENCE, Process, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::wire::{message, statuses, talk, text};

/// What would be another client's answer.
const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

/// A proxy, and an upstream that answers the first request of each connection so, and the others never: it keeps the
/// connection, as a proxy would have it.
async fn before(answer: String) -> Process {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("--upstream=http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Ok(None) = message(&bytes) {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = stream.write_all(answer.as_bytes()).await;
                // Until the proxy closes.
                let _ = stream.read_to_end(&mut bytes).await;
            });
        }
    });
    Process::serve(&[&url]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_response_is_dropped() {
    for (head, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", ""),
    ] {
        let process = before(format!("{head}{EVIL}")).await;
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let mut client = process.connect(protocol).await;
            for turn in 0..4 {
                let reply = timeout(PATIENCE, client.get("/")).await.unwrap();
                assert_eq!(reply.text(), body, "{protocol:?} {head} {turn}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_reads_as_two_is_502() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 40\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 40\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-one: 1\r\n folded: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx-one: 1\rset-cookie: evil\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx-one: 1\0\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx one: 1\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx-one\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "ok",
    ] {
        // An answer that ends the connection, so that nothing waits for more.
        let process = before(format!("{head}\r\n\r\n{EVIL}")).await;
        let bytes = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = talk(process.addr, bytes).await;
        assert_eq!(statuses(&answer), [502], "{head}: {}", text(&answer));
        assert!(!text(&answer).contains("evil"), "{head}: {}", text(&answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odd_length_is_said_plainly() {
    for head in
        ["content-length: 2, 2", "content-length: 2\r\ncontent-length: 2", "content-length: 002"]
    {
        let process = before(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nok{EVIL}")).await;
        let bytes = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = text(&talk(process.addr, bytes).await);
        assert_eq!(answer.matches("content-length: 2\r\n").count(), 1, "{head}: {answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{head}: {answer}");
    }
}

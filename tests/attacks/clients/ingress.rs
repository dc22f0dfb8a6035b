//! What a request is, decided once: what a client writes reaches middleware, component and upstream as one and the same.

use millpond::HttpVersion::{P2, P3};
use millpond_tests::{Process, Protocol, empty, guest_module, whole};

use crate::support::file;
use crate::wire::{Recorder, statuses, talk, text};

/// Refuses what is not for `a.example`, by the header that hosts are in.
const HOST_GUARD: &str = r#"(module
    (import "http_handler" "get_header_values"
        (func $values (param i32 i32 i32 i32 i32) (result i64)))
    (import "http_handler" "set_status_code" (func $status (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "host")
    (data (i32.const 8) "a.example\00")
    (func (export "handle_request") (result i64)
        (local $i i32)
        (if (i64.ne (call $values (i32.const 0) (i32.const 0) (i32.const 4)
                (i32.const 64) (i32.const 64)) (i64.const 0x10000000a))
            (then (call $status (i32.const 403)) (return (i64.const 0))))
        (loop $next
            (if (i32.ne (i32.load8_u (i32.add (i32.const 8) (local.get $i)))
                    (i32.load8_u (i32.add (i32.const 64) (local.get $i))))
                (then (call $status (i32.const 403)) (return (i64.const 0))))
            (br_if $next (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
        (i64.const 1))
    (func (export "handle_response") (param i32 i32)))"#;

/// Requests that mean one host where a guard looks, and another elsewhere.
const TWO_HOSTS: [&str; 4] = [
    "GET http://b.example/request HTTP/1.1\r\nhost: a.example\r\n",
    "GET http://a.example@b.example/request HTTP/1.1\r\nhost: a.example\r\n",
    "GET http://a.example:81/request HTTP/1.1\r\nhost: a.example\r\n",
    "GET /request HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n",
];

fn closing(head: &str) -> Vec<u8> {
    format!("{head}connection: close\r\n\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_and_a_component_see_one_host() {
    let guard = file("host-guard.wat", HOST_GUARD);
    for version in [P2, P3] {
        for flags in [&[][..], &["--middleware", &guard]] {
            let process = Process::start(version, flags).await;
            for head in TWO_HOSTS {
                let answer = talk(process.addr, &closing(head)).await;
                assert_eq!(statuses(&answer), [400], "{head}: {}", text(&answer));
            }
            for head in [
                "GET /request HTTP/1.1\r\nhost: a.example\r\n",
                "GET http://a.example/request HTTP/1.1\r\nhost: A.example:80\r\n",
            ] {
                let answer = text(&talk(process.addr, &closing(head)).await);
                assert!(answer.contains("\nauthority: a.example\n"), "{head}: {answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_and_an_upstream_see_one_host() {
    let guard = file("host-guard-upstream.wat", HOST_GUARD);
    let recorder = Recorder::start().await;
    for flags in [&[][..], &["--middleware", &guard]] {
        let process = Process::serve(&[&[&recorder.flag()[..]], flags].concat()).await;
        for head in TWO_HOSTS {
            assert_eq!(statuses(&talk(process.addr, &closing(head)).await), [400], "{head}");
            assert_eq!(recorder.take(), [], "{head}");
        }
        let head = "GET http://a.example/x HTTP/1.1\r\nhost: A.example:80\r\n";
        assert_eq!(statuses(&talk(process.addr, &closing(head)).await), [200]);
        let message = recorder.take_one();
        assert_eq!(message.line, "GET /x HTTP/1.1");
        assert_eq!(message.values("host"), ["a.example"]);
        assert_eq!(message.values("x-forwarded-host"), ["a.example"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_has_one_host_too() {
    let guard = file("host-guard-h2.wat", HOST_GUARD);
    let process = Process::start(P2, &["--middleware", &guard]).await;
    for (uri, host, status) in [
        ("http://b.example/request", Some("a.example"), 400),
        ("http://a.example/request", Some("b.example"), 400),
        ("http://b.example/request", None, 403),
        ("https://a.example/request", None, 421),
        ("http://a.example/request", None, 200),
        ("http://a.example/request", Some("a.example"), 200),
    ] {
        let mut client = process.connect(Protocol::H2c).await;
        let mut request = http::Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = client.send(request.body(empty()).unwrap()).await.unwrap();
        let reply = whole(response).await;
        assert_eq!(reply.status, status, "{uri} {host:?}");
        if status == 200 {
            assert!(reply.text().contains("\nauthority: a.example\n"), "{}", reply.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_removes_nothing_of_others() {
    let recorder = Recorder::start().await;
    // A middleware adds another one.
    let module = guest_module().to_str().unwrap();
    let process = Process::serve(&[
        &recorder.flag(),
        "--header=x-tenant: one",
        "--header=x-forwarded-user: me",
        "--middleware",
        module,
    ])
    .await;
    let script = "x-request: set 0 x-added 1";
    for connection in ["x-tenant", "close, X-Tenant, x-added", "x-tenant,x-own"] {
        let head = format!(
            "GET /x HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\nx-own: 1\r\n{script}\r\n"
        );
        assert_eq!(statuses(&talk(process.addr, &closing(&head)).await), [200], "{connection}");
        let message = recorder.take_one();
        assert_eq!(message.values("x-tenant"), ["one"], "{connection}");
        assert_eq!(message.values("x-forwarded-user"), ["me"], "{connection}");
        let own = if connection.contains("x-own") { &[][..] } else { &["1"] };
        assert_eq!(message.values("x-own"), own, "its own it may remove");
    }
    for named in ["host", "content-length", "authorization", "x-forwarded-for", "x-forwarded-user"]
    {
        let head = format!("GET /x HTTP/1.1\r\nhost: a\r\nconnection: close, {named}\r\n\r\n");
        assert_eq!(statuses(&talk(process.addr, head.as_bytes()).await), [400], "{named}");
        assert_eq!(recorder.take(), [], "{named}");
    }
}

/// What a client writes that is not in front of whom it says.
const FORGED: &str = "forwarded: for=192.0.2.1;host=b\r\nx-forwarded-for: 192.0.2.1\r\n\
    x-forwarded-host: b\r\nx-forwarded-proto: https\r\nx-forwarded-prefix: /b\r\n\
    x-real-ip: 192.0.2.1\r\ntrue-client-ip: 192.0.2.1\r\ncf-connecting-ip: 192.0.2.1\r\n\
    x_forwarded_for: 192.0.2.1\r\nx-original-url: /admin\r\nproxy: http://b\r\nx-other: 1\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_request_is_from_is_not_forged() {
    let head = format!("GET /request HTTP/1.1\r\nhost: a\r\n{FORGED}");
    let recorder = Recorder::start().await;
    for flags in [&[][..], &["--trust-proxy=192.0.2.0/24"]] {
        let process = Process::serve(&[&[&recorder.flag()[..]], flags].concat()).await;
        assert_eq!(statuses(&talk(process.addr, &closing(&head)).await), [200]);
        let mut headers = recorder.take_one().headers;
        headers.sort_unstable();
        let expected = [
            ("host", "a"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "a"),
            ("x-forwarded-proto", "http"),
            ("x-other", "1"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    for version in [P2, P3] {
        let process = Process::start(version, &[]).await;
        let answer = text(&talk(process.addr, &closing(&head)).await);
        assert!(answer.contains("\nx-other: 1\n"), "{answer}");
        for gone in ["192.0.2.1", "x-forwarded-", "x-original-url", "proxy:"] {
            assert!(!answer.contains(gone), "{gone}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_is_believed() {
    let head = format!("GET /request HTTP/1.1\r\nhost: a\r\n{FORGED}");
    let recorder = Recorder::start().await;
    let flags = [&recorder.flag(), "--trust-proxy=192.0.2.0/24", "--trust-proxy=127.0.0.1"];
    let process = Process::serve(&flags).await;
    assert_eq!(statuses(&talk(process.addr, &closing(&head)).await), [200]);
    let message = recorder.take_one();
    assert_eq!(message.values("x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
    assert_eq!(message.values("x-forwarded-host"), ["b"]);
    assert_eq!(message.values("x-forwarded-proto"), ["https"]);
    assert_eq!(message.values("forwarded"), ["for=192.0.2.1;host=b"]);
    assert_eq!(message.values("x-real-ip"), ["192.0.2.1"]);
    assert_eq!(message.values("proxy"), [""; 0]);
    // By its own address only, and not by what it says.
    let head = "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close, x-forwarded-for\r\n\r\n";
    assert_eq!(statuses(&talk(process.addr, head.as_bytes()).await), [400]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripped_headers_are_in_no_response() {
    let flags = [
        "--strip-response-header=Content-Type",
        "--strip-response-header=x-checksum",
        "--max-instances=4",
    ];
    for version in [P2, P3] {
        let process = Process::start(version, &flags).await;
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let mut client = process.connect(protocol).await;
            let request = client.request("/trailers").header("te", "trailers");
            let response = client.send(request.body(empty()).unwrap()).await.unwrap();
            let reply = whole(response).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "body\n"));
            let trailers = reply.trailers.unwrap_or_default();
            assert!(!trailers.contains_key("x-checksum"), "{protocol:?}: {trailers:?}");
            let hello = client.get("/hello").await;
            assert_eq!((hello.status.as_u16(), hello.text()), (200, "hello\n"));
            assert!(!hello.headers.contains_key("content-type"), "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_does_not_pass_for_the_host() {
    let module = guest_module().to_str().unwrap();
    for version in [P2, P3] {
        let process = Process::start(version, &["--middleware", module, "--max-instances=4"]).await;
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let client = &mut process.connect(protocol).await;
            // A component, in its head and its trailers; a middleware that answers; one that changes an answer.
            for (path, request, response, status) in [
                ("/proxy-status", "", "", 200),
                ("/hello", "set 1 proxy-status forged;answer", "", 200),
                ("/hello", "features 2;next 0", "set 1 proxy-status forged", 200),
                ("/hello", "features 2;next 0", "set 3 proxy-status forged", 200),
            ] {
                let request = client
                    .request(path)
                    .header("te", "trailers")
                    .header("x-request", request)
                    .header("x-response", response);
                let response = client.send(request.body(empty()).unwrap()).await.unwrap();
                let reply = whole(response).await;
                assert_eq!(reply.status, status, "{protocol:?} {path}");
                assert!(!reply.headers.contains_key("proxy-status"), "{protocol:?} {path}");
                let trailers = reply.trailers.unwrap_or_default();
                assert!(!trailers.contains_key("proxy-status"), "{protocol:?} {path}");
                assert_eq!(trailers.contains_key("x-checksum"), path == "/proxy-status");
            }
            // The host's own word stays, whatever a middleware makes of it.
            for script in ["", "remove 1 proxy-status", "set 1 proxy-status forged"] {
                let request = client
                    .request("/error?code=internal-error")
                    .header("x-request", "features 2;next 0")
                    .header("x-response", script);
                let response = client.send(request.body(empty()).unwrap()).await.unwrap();
                let reply = whole(response).await;
                assert_eq!(reply.status, 500, "{}", reply.text());
                let said = reply.headers["proxy-status"].to_str().unwrap();
                assert!(said.starts_with("millpond; error="), "{said}");
            }
        }
    }
}

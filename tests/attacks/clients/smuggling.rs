//! Smuggling: bytes of one request's body, or of what was refused, never become a request of their own: not at a
//! component, not at an upstream, and not at an upstream behind HAProxy in front.
//!
//! Each attack is followed by a request of which the client says that it is the last. What reaches the upstream is kept,
//! and read as strictly as RFC 9112 allows.

mod cases;
mod haproxy;

use millpond::HttpVersion::{P2, P3};
use millpond_tests::{Process, Protocol, full};

use crate::wire::{Message, Recorder, Seen, statuses, talk, text};
use cases::{Case, End, cases};

/// What comes behind each attack on its connection.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn with_last(case: &Case) -> Vec<u8> {
    [&case.bytes[..], LAST].concat()
}

/// What a strict reader of the upstream's bytes may find: whole requests, and of these the attack's own and the last one.
fn requests(name: &str, seen: Vec<Seen>) -> Vec<Message> {
    let requests = seen.into_iter().map(|seen| match seen {
        Seen::Request(message) => message,
        Seen::Garbage(bytes) => panic!("{name}: no request: {}", text(&bytes)),
    });
    let requests: Vec<_> = requests.collect();
    let smuggled = requests.iter().find(|request| request.line.contains("smuggled"));
    assert_eq!(smuggled, None, "{name}");
    requests
}

/// Notes answers that are not those of such an end.
fn check_answers(name: &str, end: &End, answer: &[u8], failures: &mut Vec<String>) {
    let got = statuses(answer);
    let is_good = match end {
        End::Refused(statuses) => got.len() == 1 && statuses.contains(&got[0]),
        // A component is told that the body is broken; what it makes of that is its own affair.
        End::Broken => got.len() < 2,
        End::Closed(_) => got == [200],
        // An HTTP/1.0 client whose response has no length gets one that ends with the connection.
        End::Open(_) if answer.starts_with(b"HTTP/1.0 ") => got[0] == 200,
        // A component that has no such path.
        End::Open(_) => got.len() == 2 && [200, 404].contains(&got[0]),
    };
    if !is_good || text(answer).contains("HTTP/1.1 101") {
        failures.push(format!("{name}: expected {end:?}, got {got:?}: {:?}", text(answer)));
    }
}

/// The bytes with the first of these in place of those.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_gets_one_request_or_none() {
    let recorder = Recorder::start().await;
    let process = Process::serve(&[&recorder.flag()]).await;
    let mut failures = Vec::new();
    for case in cases() {
        let answer = talk(process.addr, &with_last(&case)).await;
        check_answers(case.name, &case.end, &answer, &mut failures);
        let requests = requests(case.name, recorder.take());
        let body = match &case.end {
            End::Refused(_) | End::Broken => {
                assert_eq!(requests, [], "{}", case.name);
                if statuses(&answer).iter().any(|status| *status < 400) {
                    failures.push(format!("{}: {:?}", case.name, text(&answer)));
                }
                continue;
            }
            End::Closed(body) | End::Open(body) => body,
        };
        assert_eq!(text(&requests[0].body), *body, "{}", case.name);
        let others = requests[1..].iter().map(|request| &*request.line);
        let expected = match &case.end {
            End::Open(_) => &["GET /last HTTP/1.1"][..],
            _ => &[],
        };
        assert_eq!(others.collect::<Vec<_>>(), expected, "{}", case.name);
        for gone in ["connection", "expect", "upgrade", "http2-settings", "transfer_encoding"] {
            assert_eq!(requests[0].values(gone), [""; 0], "{} {gone}", case.name);
        }
        assert!(requests[0].values("host").len() == 1, "{}", case.name);
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(process.get("/innocent").await, (200, "ok\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_gets_one_request_or_none() {
    for version in [P2, P3] {
        let process = Process::start(version, &["--max-instances=16"]).await;
        let mut failures = Vec::new();
        for case in cases() {
            // What reads the body to its end, and says how long it is.
            let attack = replaced(&case.bytes, b" /x", b" /drain");
            let answer = talk(process.addr, &[&attack[..], LAST].concat()).await;
            check_answers(case.name, &case.end, &answer, &mut failures);
            if let End::Closed(body) | End::Open(body) = &case.end
                && text(&attack).contains("/drain HTTP/1.1")
            {
                let says = format!("\r\n{}\r\n", body.len());
                assert!(text(&answer).contains(&says), "{}: {}", case.name, text(&answer));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_all_was_seen_by_haproxy() {
    let recorder = Recorder::start().await;
    let process = Process::serve(&[&recorder.flag(), "--trust-proxy=127.0.0.1"]).await;
    let Some(haproxy) = haproxy::start(process.addr).await else { return };
    let mut reached = 0;
    for case in cases() {
        haproxy.attack(&with_last(&case)).await;
        for seen in recorder.take() {
            let Seen::Request(message) = seen else { panic!("{}: {seen:?}", case.name) };
            // HAProxy's word that it took this for a request too.
            assert_eq!(message.values(haproxy::MARK), ["seen"], "{}: {message:?}", case.name);
            reached += 1;
        }
        let innocent =
            haproxy.talk(b"GET /innocent HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(statuses(&innocent.await), [200], "{}: and innocents get their own", case.name);
        assert_eq!(recorder.take_one().line, "GET /innocent HTTP/1.1", "{}", case.name);
    }
    assert!(reached > 20, "only {reached} requests reached the upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_forge_nothing() {
    let recorder = Recorder::start().await;
    let process = Process::serve(&[&recorder.flag()]).await;
    let names =
        "content-length, host, authorization, transfer-encoding, x-forwarded-for, cookie, x-sum";
    let bytes = format!(
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: {names}\r\n\
         connection: close\r\n\r\n3\r\nabc\r\n0\r\ncontent-length: 100\r\nhost: b\r\n\
         authorization: me\r\ntransfer-encoding: chunked\r\nx-forwarded-for: 192.0.2.1\r\n\
         cookie: a=b\r\nx-sum: 1\r\n\r\n"
    );
    assert_eq!(statuses(&talk(process.addr, bytes.as_bytes()).await), [200]);
    let message = recorder.take_one();
    assert_eq!(text(&message.body), "abc");
    assert_eq!(message.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(message.values("host"), ["a"]);
    assert_eq!(message.values("authorization"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_lengths_are_true_or_refused() {
    let recorder = Recorder::start().await;
    let process = Process::serve(&[&recorder.flag()]).await;
    let body = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = body.len().to_string();
    for (lengths, is_good) in [
        (&["0"][..], false),
        (&["5"], false),
        (&["1000"], false),
        (&["0", "0"], false),
        (&[&*length, "0"], false),
        (&["0", &length], false),
        (&["+5"], false),
        (&[&length], true),
    ] {
        let mut client = process.connect(Protocol::H2c).await;
        let mut request = client.request("/x").method("POST");
        for length in lengths {
            request = request.header("content-length", *length);
        }
        let answered = client.send(request.body(full(body)).unwrap()).await;
        let status = answered.map_or(0, |response| response.status().as_u16());
        let requests = requests("http/2", recorder.take());
        if is_good {
            assert_eq!((status, requests.len()), (200, 1), "{lengths:?}");
            assert_eq!(text(&requests[0].body), body);
        } else if let [request] = &requests[..] {
            // With nothing to come, it may have gone on before the rest came, which goes nowhere.
            assert!(lengths.iter().all(|length| *length == "0"), "{lengths:?}");
            assert_eq!(text(&request.body), "", "{lengths:?}");
        } else {
            assert!(status == 0 || status >= 400, "{lengths:?}: {status}");
            assert_eq!(requests, [], "{lengths:?}");
        }
    }
    assert_eq!(process.get("/innocent").await, (200, "ok\n".to_owned()));
}

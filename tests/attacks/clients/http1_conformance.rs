//! HTTP/1.1 as RFC 9110 and RFC 9112 have it, over raw sockets: what is right is answered, what is wrong is refused, and
//! the connection is what it should be after either. What frames a message is in `smuggling`; docs/CONFORMANCE.md says
//! where more is taken than must be, and why that is safe.

mod cases;

use millpond::HttpVersion::P2;
use millpond_tests::Process;

use crate::wire::{statuses, talk, text};
use cases::{Case, Then, cases};

/// What comes behind each case on its connection: a path that no component has.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// What is wrong with these answers, if something is.
fn fault(case: &Case, answer: &[u8]) -> Option<String> {
    let got = statuses(answer);
    let is_status = match (case.statuses, &got[..]) {
        ([], got) => got.is_empty(),
        (allowed, [first, ..]) => allowed.contains(first),
        (_, []) => false,
    };
    let is_then = match case.then {
        Then::Closes => got.len() < 2,
        Then::GoesOn => got.len() > 1,
        Then::Either => true,
    };
    let answer = text(answer).to_lowercase();
    let has = case.has.iter().all(|part| answer.contains(part));
    let lacks = case.lacks.iter().all(|part| !answer.contains(part));
    let is_good = is_status && is_then && has && lacks;
    (!is_good).then(|| {
        format!("{}: expected {:?}, then {:?}: {answer:.500}", case.name, case.statuses, case.then)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_as_the_rfcs_say() {
    let process = Process::start(P2, &["--max-instances=16"]).await;
    let mut faults = Vec::new();
    let all = cases();
    for case in &all {
        let answer = talk(process.addr, &[&case.bytes[..], LAST].concat()).await;
        faults.extend(fault(case, &answer));
        assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()), "{}", case.name);
    }
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), all.len());
}

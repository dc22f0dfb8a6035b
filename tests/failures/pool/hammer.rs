//! Everything at once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use millpond::{Limits, Reason};
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::{Server, empty, whole};

use crate::setup::{Recorder, Seen, Sent, Setup, drain};

/// Each request was given to a guest at most once; each instance started once and retired once,
/// for the reasons that were counted.
fn assert_consistent(seen: &[Seen], now: &millpond::Snapshot) {
    let mut instances = BTreeMap::new();
    let mut request_ids = Vec::new();
    let mut reasons: BTreeMap<Reason, u64> = BTreeMap::new();
    for seen in seen {
        match *seen {
            Seen::Started { instance } => {
                assert_eq!(instances.insert(instance, true), None, "started twice");
            }
            Seen::Request { instance, request_id, .. } => {
                assert_eq!(instances.get(&instance), Some(&true), "not on a live instance");
                request_ids.push(request_id);
            }
            Seen::Retired { instance, reason, .. } => {
                assert_eq!(instances.insert(instance, false), Some(true), "not retired once");
                *reasons.entry(reason).or_default() += 1;
            }
        }
    }
    assert!(instances.values().all(|live| !live), "all were retired: {instances:?}");
    let given = request_ids.len();
    request_ids.sort_unstable();
    request_ids.dedup();
    assert_eq!(request_ids.len(), given, "no request is given to two guests");
    // A start that its request gave up never got to the hooks.
    for (reason, count) in now.retired.iter() {
        let hooks = reasons.get(&reason).copied().unwrap_or(0);
        assert!(hooks <= count, "{reason}: {hooks} of {count}");
        assert!(count - hooks <= now.failed_starts, "{reason}: {hooks} of {count}");
    }
}

async fn everything_at_once_leaves_nothing_behind(setup: Setup) {
    let (recorder, record) = Recorder::new();
    let server = setup
        .serve_host(recorder, |builder| {
            builder.limits(|limits| {
                limits.max_instances = 6;
                limits.settle_time = Limits::default().settle_time;
                // Long for all but those that spin: no request may fail for a slow machine.
                limits.request_timeout = Duration::from_secs(2);
                limits.queue_timeout = Duration::from_secs(60);
            })
        })
        .await;
    let server = &server;
    let statuses = join_all((0..10).map(|client| async move {
        let mut statuses = Vec::new();
        for round in 0..30 {
            statuses.extend(act(server, client, round).await);
        }
        statuses
    }));
    let statuses: Vec<_> = statuses.await.into_iter().flatten().collect();
    let now = drain(server).await;
    assert_consistent(&record.all(), &now);

    // Two rounds in ten leave, some of them before the pool knows of them.
    assert_eq!(statuses.len(), 240);
    assert!((240..=300).contains(&now.submitted), "{now:?}");
    assert_eq!(now.refused, 0);
    let count = |path: &str, status: u16| {
        statuses.iter().filter(|(p, s)| *p == path && *s == status).count()
    };
    assert_eq!(count("/trap", 200), 0);
    assert_eq!(count("/spin", 504) + count("/spin", 500), 30, "{statuses:?}");
    let honest = [0, 200, 500, 504];
    assert!(statuses.iter().all(|(_, status)| honest.contains(status)), "{statuses:?}");
    if !setup.is_shared() {
        // A failed request does not fail others.
        let answered: Vec<_> = ["/hello", "/counter", "/drip?n=3&ms=5", "/abort-body"]
            .map(|path| (path, count(path, 200)))
            .into();
        let expected =
            [("/hello", 60), ("/counter", 30), ("/drip?n=3&ms=5", 30), ("/abort-body", 30)];
        assert_eq!(answered, expected);
        assert_eq!((count("/trap", 500), count("/trap-mid-body", 200)), (30, 30));
        assert_eq!(count("/spin", 504), 30);
        assert_eq!(now.retired.get(Reason::Trap), 60);
    }
}
setups!(everything_at_once_leaves_nothing_behind);

async fn act<H: millpond::Host>(
    server: &Server<H>,
    client: usize,
    round: usize,
) -> Option<(&'static str, u16)> {
    let protocol = if (client + round).is_multiple_of(2) { Http1 } else { H2c };
    let path = match (client + round) % 10 {
        0 | 5 => "/hello",
        1 => "/counter",
        2 => "/trap",
        3 => "/drip?n=3&ms=5",
        4 => "/trap-mid-body",
        6 => "/spin",
        7 => "/abort-body",
        8 => return leave(server, "/never", round).await,
        _ => return leave(server, "/drip?n=1000&ms=5", round).await,
    };
    let mut client = server.connect(protocol).await;
    let request = client.request(path).body(empty()).expect("a good request");
    let reply = match client.send(request).await {
        Ok(response) => whole(response).await,
        // Broken by a neighbour before the head was out.
        Err(_) => return Some((path, 0)),
    };
    if path == "/trap-mid-body" || path == "/abort-body" {
        assert!(reply.broken || reply.status != 200, "{path}: {reply:?}");
    } else if !reply.broken && reply.status == 200 {
        let lines = reply.text().lines().count();
        assert_eq!(lines, if path.starts_with("/drip") { 3 } else { 1 }, "{path}: {reply:?}");
    }
    Some((path, reply.status.as_u16()))
}

/// Leaves after a while that differs.
async fn leave<H: millpond::Host>(
    server: &Server<H>,
    path: &'static str,
    round: usize,
) -> Option<(&'static str, u16)> {
    let sent = Sent::get(server, path);
    tokio::time::sleep(Duration::from_millis(round as u64 * 3)).await;
    sent.leave();
    None
}

async fn traps_fail_only_what_was_started(setup: Setup) {
    let (recorder, record) = Recorder::new();
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 2))
        .await;
    let server = &server;
    let statuses = join_all((0..20).map(|client| async move {
        let mut statuses = Vec::new();
        for round in 0..10 {
            let path = if (client + round) % 5 == 0 { "/trap" } else { "/hello" };
            let mut client = server.connect(Http1).await;
            let request = client.request(path).body(empty()).expect("a good request");
            // Or broken by a neighbour before the head was out.
            let status =
                client.send(request).await.map_or(0, |response| response.status().as_u16());
            statuses.push((path, status));
        }
        statuses
    }));
    let statuses: Vec<_> = statuses.await.into_iter().flatten().collect();
    let now = drain(server).await;
    assert_consistent(&record.all(), &now);
    assert!(statuses.iter().all(|(_, status)| [0, 200, 500].contains(status)), "{statuses:?}");
    assert_eq!((now.submitted, now.responded + now.failed), (200, 200));
    assert_eq!(record.requests().len(), 200, "every request was started, once");
    assert_eq!(statuses.iter().filter(|seen| **seen == ("/trap", 500)).count(), 40);
    if !setup.is_shared() {
        assert_eq!((now.failed, now.retired.get(Reason::Trap)), (40, 40));
        assert_eq!(statuses.iter().filter(|seen| **seen == ("/hello", 200)).count(), 160);
    }
}
setups!(traps_fail_only_what_was_started);

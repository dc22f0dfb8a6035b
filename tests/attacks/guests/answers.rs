//! Guests that answer too often, not at all, or go on when they have answered.

use std::time::Duration;

use http_body_util::BodyExt as _;
use millpond::HttpVersion::{P2, P3};
use millpond::Reason;
use millpond_tests::Process;
use millpond_tests::Protocol::{H2c, Http1};

use super::{WAYS, ends, innocents, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_breaks_the_first() {
    let server = serve((P2, 1), |builder| builder).await;
    for protocol in [Http1, H2c] {
        let mut client = server.connect(protocol).await;
        let request = client.request("/twice").body(millpond_tests::empty()).expect("good");
        // The connection may break before the head is out, which is honest as well.
        if let Ok(response) = client.send(request).await {
            let reply = millpond_tests::whole(response).await;
            assert!(reply.broken || reply.status == 500, "{reply:?}");
            assert!(!String::from_utf8_lossy(&reply.body).contains("twice"), "{reply:?}");
        }
    }
    innocents(&server).await;
    assert_eq!(ends(&server).await.retired.get(Reason::Trap), 2);
}

/// It might still trap, so its client waits as long as for any other guest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_outparam_is_timed_out() {
    let time = Duration::from_millis(500);
    let server =
        serve((P2, 1), |builder| builder.limits(move |limits| limits.request_timeout = time)).await;
    for protocol in [Http1, H2c] {
        let reply = server.connect(protocol).await.get("/drop-out").await;
        assert_eq!(reply.status, 504, "{reply:?}");
    }
    innocents(&server).await;
    assert_eq!(ends(&server).await.retired.get(Reason::Timeout), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_post_return_ends() {
    for way in WAYS {
        let time = Duration::from_millis(500);
        let server =
            serve(way, |builder| builder.limits(move |limits| limits.post_return_timeout = time))
                .await;
        let reply = server.get("/spin-after").await;
        assert_eq!((reply.status.as_u16(), reply.text(), reply.broken), (200, "done\n", false));
        if way.1 == 1 {
            innocents(&server).await;
        }
        let now = server.until("it is ended", |now| now.retired.get(Reason::Timeout) == 1).await;
        assert_eq!((now.responded, now.failed), (if way.1 == 1 { 5 } else { 1 }, 0));
        innocents(&server).await;
        ends(&server).await;
    }
}

/// Each request leaves a megabyte in an instance that may have eight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_ends_with_its_instance() {
    for version in [P2, P3] {
        let args = ["--max-memory=8MiB", "--max-instances=2", "--log=error"];
        let reuse = "--max-instance-reuse-count=1000000";
        let process = Process::start(version, &[&args[..], &[reuse]].concat()).await;
        let resident = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
            let status = status.expect("it lives");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
        };
        let leak = async || process.get("/alloc?mib=1").await.0;
        for _ in 0..10 {
            leak().await;
        }
        let before = resident();
        let mut failed = 0;
        for round in 0..100 {
            failed += usize::from(leak().await == 500);
            if round % 10 == 0 {
                until_served(&process).await;
            }
        }
        println!("{version:?}: {before} MiB and then {} MiB, {failed} failed", resident());
        assert!((8..40).contains(&failed), "each instance serves some: {failed}");
        assert!(resident() <= before + 24, "{before} MiB and then {} MiB", resident());
    }
}

async fn until_served(process: &Process) {
    assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()));
}

/// What its client does not read is not produced either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_waits_for_its_reader() {
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        for protocol in [Http1, H2c] {
            let before = resident();
            let mut readers = Vec::new();
            for _ in 0..4 {
                let mut client = server.connect(protocol).await;
                let response = client.head_of("/bytes?n=1000000000000").await;
                readers.push((client, response.into_body()));
            }
            server.until("all stream", |now| now.streaming == 4).await;
            // So many frames that each has gone round through all buffers.
            for _ in 0..20 {
                for (_, body) in &mut readers {
                    let frame = body.frame().await.expect("it goes on").expect("not cut");
                    assert!(!frame.into_data().expect("data").is_empty());
                }
            }
            let grown = resident().saturating_sub(before);
            println!("{way:?} {protocol:?}: {grown} MiB more");
            // Other tests run in this process: a body without bound would take gigabytes.
            assert!(grown < 256, "{grown} MiB");
            drop(readers);
            server.until("it is noticed", |now| now.streaming + now.abandoned == 0).await;
        }
        innocents(&server).await;
        ends(&server).await;
    }
}

/// Of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

/// Writes of nothing: no frame of them is sent. By hand: 1 000 000.
const EMPTY_WRITES: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_writes_are_no_frames() {
    for way in WAYS {
        let server = serve(way, |builder| builder).await;
        for protocol in [Http1, H2c] {
            let mut client = server.connect(protocol).await;
            let path = format!("/empty-writes?n={EMPTY_WRITES}");
            let (mut response, ()) = tokio::join!(client.head_of(&path), innocents(&server));
            let mut frames = Vec::new();
            while let Some(frame) = response.body_mut().frame().await {
                frames.extend(frame.expect("not cut").into_data().ok());
            }
            assert!(frames.len() <= 2, "{} frames", frames.len());
            assert_eq!(frames.concat(), b"end\n");
        }
        ends(&server).await;
    }
}

/// They do not count as a body that moves: however many there are, they end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_writes_are_no_progress() {
    for way in WAYS {
        let time = Duration::from_millis(500);
        let server =
            serve(way, |builder| builder.limits(move |limits| limits.body_stall_timeout = time))
                .await;
        let (reply, ()) = tokio::join!(server.get("/empty-writes?n=1000000000"), async {
            if way.1 == 1 {
                innocents(&server).await;
            }
        });
        assert!(reply.broken && reply.body.is_empty(), "{way:?}: {reply:?}");
        innocents(&server).await;
        assert_eq!(ends(&server).await.retired.get(Reason::Timeout), 1, "{way:?}");
    }
}

//! `millpond serve` with the test guests: flags, limits, admin, and the end.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use millpond::HttpVersion::{P2, P3};
use millpond_tests::{Client, Process, Protocol, empty, get, until, whole};
use tokio::net::TcpStream;

use crate::support::{Held, PROTOCOLS, held_back, read_exactly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_line_announces_the_address() {
    for version in [P2, P3] {
        let process = Process::start(version, &[]).await;
        let port = process.addr.port().to_string();
        let stderr = process.stderr();
        let line = stderr.iter().find(|line| line.contains(&port));
        assert_eq!(line, Some(&format!("Serving HTTP on http://127.0.0.1:{port}/")));
        assert_ne!(port, "0");
        for protocol in PROTOCOLS {
            let reply = process.connect(protocol).await.get("/hello").await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "hello\n"), "{version}");
        }
    }
}

async fn head(protocol: Protocol) {
    for version in [P2, P3] {
        let process = Process::start(version, &[]).await;
        let mut client = process.connect(protocol).await;
        for path in ["/bytes?n=50000000&length=1", "/bytes?n=50000000", "/hello"] {
            let request = client.request(path).method("HEAD").body(empty()).unwrap();
            let reply = whole(client.send(request).await.unwrap()).await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
            assert!(!reply.broken, "{version} {path}");
        }
        assert_eq!(client.get("/hello").await.text(), "hello\n", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_over_http1_has_no_body() {
    head(Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_over_h2c_has_no_body() {
    head(Protocol::H2c).await;
}

/// Linux allows a process 65530 mappings unless told otherwise, and who embeds one pool may want
/// another, and threads.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_leaves_memory_mappings_to_others() {
    for version in [P2, P3] {
        let process = Process::start(version, &[]).await;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.id())).unwrap();
        let mappings = maps.lines().count();
        assert!(mappings < 8192, "{version}: {mappings} mappings");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flags_of_wasmtime_serve_are_accepted() {
    let dir = env!("CARGO_TARGET_TMPDIR");
    let flags = format!(
        "--env A=1 --env B --dir {dir}::/data -H x-one:1 --header x-two:2 \
         --max-instance-reuse-count 100 --max-instance-concurrent-reuse-count 4 \
         --idle-instance-timeout 2s --max-concurrent-requests 50 --max-concurrent-connections 60 \
         --no-logging-prefix --shutdown-addr 127.0.0.1:0 \
         -S cli,http,p3,config,keyvalue -S config-var=a=b -W timeout=5s -W max-memory-size=64MiB \
         -W component-model-async -C cache"
    );
    let flags: Vec<&str> = flags.split_whitespace().collect();
    for version in [P2, P3] {
        let process = Process::start(version, &flags).await;
        assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn env_and_dir_and_header_reach_the_guest() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("command");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file.txt"), "content\n").unwrap();
    let given = format!("{}::/data", dir.display());
    for version in [P2, P3] {
        let flags = ["--env=GREETING=hello", "--dir", &given, "-H", "x-tenant: one"];
        let process = Process::start(version, &flags).await;
        let (_, env) = process.get("/env").await;
        assert_eq!(env, "GREETING=hello\nINSTANCE_ID=1\n", "{version}");
        let read = process.get("/read?path=/data/file.txt").await;
        assert_eq!(read, (200, "content\n".to_owned()), "{version}");
        let mut client = process.connect(Protocol::Http1).await;
        let request = client.request("/request").header("x-tenant", "forged").body(empty());
        let reply = whole(client.send(request.unwrap()).await.unwrap()).await;
        assert!(reply.text().contains("\nx-tenant: one\n"), "{version}: {}", reply.text());
        assert!(!reply.text().contains("forged"), "{version}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbound_requests_need_the_flag() {
    for version in [P2, P3] {
        let target = Process::start(P2, &[]).await;
        let url = format!("/fetch?url=http://{}/hello", target.addr);
        let denied = Process::start(version, &["--allow-outbound=127.0.0.1:1"]).await;
        let reply = denied.get(&url).await;
        assert_eq!(reply, (502, "ErrorCode::HttpRequestDenied\n".to_owned()), "{version}");
        let allow = format!("--allow-outbound={}", target.addr);
        let allowed = Process::start(version, &[&allow]).await;
        assert_eq!(allowed.get(&url).await, (200, "hello\n".to_owned()), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_and_two_queued_serve_four() {
    for protocol in PROTOCOLS {
        let flags = ["--max-instances=2", "--queue=2", "--queue-timeout=60s"];
        let process = Process::start(P2, &flags).await;
        let requests = join_all((0..10).map(|_| Held::send(process.addr, protocol))).await;
        // None of the others can be answered: their bodies are held back.
        until("six are refused", || {
            (requests.iter().filter(|request| request.is_answered()).count() == 6).then_some(())
        })
        .await;
        let replies = join_all(requests.into_iter().map(Held::finish)).await;
        let (served, refused): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.status == 200);
        assert_eq!((served.len(), refused.len()), (4, 6), "{protocol:?}");
        assert!(served.iter().all(|reply| reply.text() == "5"));
        for reply in refused {
            assert_eq!((reply.status.as_u16(), reply.text()), (503, "overloaded\n"));
            assert_eq!(reply.headers["retry-after"], "1");
            assert!(reply.headers.contains_key("proxy-status"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_sleepers() {
    let flags = ["--max-instances=2", "--queue=2", "--queue-timeout=60s"];
    let process = Process::start(P2, &flags).await;
    let replies = join_all((0..10).map(|_| process.get("/sleep?ms=4000"))).await;
    let served = replies.iter().filter(|reply| **reply == (200, "slept\n".to_owned())).count();
    let refused = replies.iter().filter(|reply| **reply == (503, "overloaded\n".to_owned()));
    assert_eq!((served, refused.count()), (4, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_tells_readiness_and_counts() {
    for version in [P2, P3] {
        let flags = ["--admin=127.0.0.1:0", "--drain-delay=1h"];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        assert_eq!(get(admin, "/readyz").await, (200, "ok\n".to_owned()));
        assert_eq!(get(admin, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get(admin, "/other").await.0, 404);
        process.measures(admin, "millpond_requests_total{outcome=\"responded\"} 0").await;

        assert_eq!(process.get("/hello").await.0, 200);
        assert_eq!(process.get("/error?code=dns-timeout").await.0, 504);
        process.measures(admin, "millpond_requests_total{outcome=\"responded\"} 1").await;
        process.measures(admin, "millpond_requests_total{outcome=\"failed\"} 1").await;

        let held = Held::send(process.addr, Protocol::Http1).await;
        process.measures(admin, "millpond_requests{stage=\"busy\"} 1").await;
        process.measures(admin, "millpond_instances{status=\"busy\"} 1").await;
        assert_eq!(held.finish().await.text(), "5");
        process.measures(admin, "millpond_requests{stage=\"busy\"} 0").await;

        process.signal("TERM");
        process.logs("draining").await;
        // Readiness is off as soon as that line is there, or an instant later.
        let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
        while get(admin, "/readyz").await != (503, "draining\n".to_owned()) {
            assert!(tokio::time::Instant::now() < deadline, "it is still ready");
        }
        assert_eq!(get(admin, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(
            process.get("/hello").await,
            (200, "hello\n".to_owned()),
            "until the delay ends"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_waits_for_spares() {
    for version in [P2, P3] {
        let flags = ["--admin=127.0.0.1:0", "--min-idle=3", "--max-instance-reuse-count=1"];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
        loop {
            match get(admin, "/readyz").await {
                (200, _) => break,
                (503, text) if text == "making spares\n" => {}
                other => panic!("{other:?}"),
            }
            assert!(tokio::time::Instant::now() < deadline, "the spares are not made");
        }
        process.measures(admin, "millpond_spares 3").await;
        process.measures(admin, "millpond_start_time_seconds_count 3").await;
        assert_eq!(process.get("/hello").await.0, 200);
        process.measures(admin, "millpond_spares 3").await;
        process.measures(admin, "millpond_run_time_seconds_count 1").await;
        process.measures(admin, "millpond_queue_wait_seconds_bucket{le=\"+Inf\"} 1").await;
        process.measures(admin, "millpond_starts_total{result=\"ok\"} 4").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watermarks_end_instances() {
    for version in [P2, P3] {
        // The process has more than that from the start.
        let flags = [
            "--admin=127.0.0.1:0",
            "--max-instance-reuse-count=100",
            "--process-memory-watermark=1MiB",
        ];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        assert_eq!(process.get("/hello").await.0, 200);
        process.measures(admin, "millpond_retired_total{reason=\"memory\"} 1").await;

        let flags = [
            "--admin=127.0.0.1:0",
            "--max-instance-reuse-count=100",
            "--instance-memory-watermark=8MiB",
        ];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        assert_eq!(process.get("/hello").await.0, 200);
        process.measures(admin, "millpond_instances{status=\"idle\"} 1").await;
        assert_eq!(process.get("/alloc?mib=9").await.0, 200);
        process.measures(admin, "millpond_retired_total{reason=\"memory\"} 1").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_a_running_request_finish() {
    for version in [P2, P3] {
        for protocol in PROTOCOLS {
            for name in ["TERM", "INT"] {
                let mut process = Process::start(version, &["--admin=127.0.0.1:0"]).await;
                let admin = process.announced("Admin on http://").await;
                let held = Held::send(process.addr, protocol).await;
                process.measures(admin, "millpond_requests{stage=\"busy\"} 1").await;
                process.signal(name);
                process.logs("draining").await;
                until("no connection is accepted any more", || {
                    std::net::TcpStream::connect(process.addr).is_err().then_some(())
                })
                .await;
                let reply = held.finish().await;
                assert_eq!((reply.status.as_u16(), reply.text()), (200, "5"), "{version}");
                assert_eq!(process.exit_code().await, Some(0), "{version} {protocol:?} {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_an_open_body_finish() {
    for version in [P2, P3] {
        for protocol in PROTOCOLS {
            let mut process = Process::start(version, &[]).await;
            let mut client = process.connect(protocol).await;
            let (mut upload, body) = held_back();
            let request = client.request("/echo").method("POST").body(body).unwrap();
            let mut echo = client.send(request).await.unwrap().into_body();
            upload.send_data(Bytes::from_static(b"before")).await.unwrap();
            assert_eq!(read_exactly(&mut echo, 6).await, "before");
            process.signal("TERM");
            process.logs("draining").await;
            upload.send_data(Bytes::from_static(b"after")).await.unwrap();
            assert_eq!(read_exactly(&mut echo, 5).await, "after", "{version} {protocol:?}");
            drop(upload);
            let end = http_body_util::BodyExt::collect(echo).await.expect("a clean end");
            assert_eq!(end.to_bytes().len(), 0, "{version} {protocol:?}");
            assert_eq!(process.exit_code().await, Some(0), "{version} {protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut process = Process::start(P3, &["--drain-timeout=1h"]).await;
    let mut used = Vec::new();
    for protocol in PROTOCOLS {
        let mut client: Client = process.connect(protocol).await;
        assert_eq!(client.get("/hello").await.text(), "hello\n");
        used.push(client);
    }
    let unused = TcpStream::connect(process.addr).await.unwrap();
    process.signal("TERM");
    assert_eq!(process.exit_code().await, Some(0));
    drop((used, unused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_whatever_runs() {
    for version in [P2, P3] {
        // Two that wait and one that computes.
        let mut process = Process::start(version, &["--drain-timeout=1h"]).await;
        let mut clients = Vec::new();
        for path in ["/never", "/stall-mid-body", "/spin"] {
            let mut client = process.connect(Protocol::Http1).await;
            let request = client.request(path).body(empty()).unwrap();
            clients.push(tokio::spawn(async move { drop(client.send(request).await) }));
        }
        let held = Held::send(process.addr, Protocol::Http1).await;
        process.signal("TERM");
        process.logs("draining").await;
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(143), "{version}");
        drop(held);
        clients.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlasts_the_drain_timeout_is_cut() {
    for version in [P2, P3] {
        let flags = ["--drain-timeout=100ms", "--admin=127.0.0.1:0"];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        let held = Held::send(process.addr, Protocol::Http1).await;
        process.measures(admin, "millpond_requests{stage=\"busy\"} 1").await;
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0), "{version}");
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_timeout_flag_counts() {
    for version in [P2, P3] {
        for flag in ["--request-timeout=200ms", "-Wtimeout=200ms"] {
            let process = Process::start(version, &[flag]).await;
            let reply = process.get("/never").await;
            assert_eq!(reply, (504, "request timeout\n".to_owned()), "{version} {flag}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_overrides_the_configuration_file() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("good.toml");
    std::fs::write(&file, "env = [\"A=file\"]\nmax-instance-reuse-count = 2\n").unwrap();
    let file = file.to_str().unwrap();
    let process = Process::start(P2, &["--config", file]).await;
    assert_eq!(process.get("/env").await.1, "A=file\nINSTANCE_ID=1\n");
    let process = Process::start(P2, &["--config", file, "--env=A=flag"]).await;
    assert_eq!(process.get("/env").await.1, "A=flag\nINSTANCE_ID=1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reuse_counts_from_the_command_line_count() {
    for version in [P2, P3] {
        let flags = ["--max-instance-reuse-count=3", "--admin=127.0.0.1:0"];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        let mut counts = Vec::new();
        for i in 1..=4 {
            counts.push(process.get("/counter").await.1);
            let idle = u64::from(i != 3);
            process.measures(admin, &format!("millpond_instances{{status=\"idle\"}} {idle}")).await;
            process.measures(admin, "millpond_instances{status=\"retiring\"} 0").await;
        }
        assert_eq!(counts, ["1\n", "2\n", "3\n", "1\n"], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_and_core_dumps_survive_restarts() {
    let name = format!("kept-{}", std::process::id());
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let flags = [format!("--profile={}", dir.display()), format!("--coredump={}", dir.display())];
    let mut before = Vec::new();
    for _ in 0..2 {
        let mut process = Process::start(P2, &[&flags[0], &flags[1]]).await;
        assert_eq!(process.get("/spin?ms=100").await, (200, "spun\n".to_owned()));
        assert_eq!(process.get("/trap").await.0, 500);
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0));
        let id = process.id();
        for (file, start) in [("1.json", "{"), ("2.coredump", "\0asm")] {
            let path = dir.join(format!("millpond_test_guest_p2-{id}-{file}"));
            let bytes = std::fs::read(&path).unwrap();
            assert!(bytes.starts_with(start.as_bytes()), "{}", path.display());
            before.push((path, bytes));
        }
    }
    for (path, bytes) in before {
        assert!(std::fs::read(&path).unwrap() == bytes, "{} has changed", path.display());
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// Long enough that what it is for cannot be luck.
const LONG: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_waits_for_work_after_the_answer() {
    for version in [P2, P3] {
        let mut process = Process::start(version, &[]).await;
        let path = format!("/post-return?ms={}", LONG.as_millis());
        assert_eq!(process.get(&path).await, (200, "done\n".to_owned()));
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0));
        let instance = if version == P2 { "1/1" } else { "1" };
        process.prints(&format!("stdout [{instance}] :: post-return done")).await;
    }
}

//! What the host writes: streams that are closed, full or unread, and guests that print without end or lie.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use millpond::HttpVersion::{P2, P3};
use millpond_tests::{Process, free_addr, until};

/// More than the log may say at once, and than there are threads for blocking work.
const TRAPS: usize = 70;

/// Several times what a pipe and all buffers hold.
const LINES: usize = 1000;

fn long_line() -> String {
    "x".repeat(4000)
}

fn admin() -> (SocketAddr, String) {
    let addr = free_addr();
    (addr, format!("--admin={addr}"))
}

/// Traps, and lines on both streams, with innocents in between.
async fn storm(process: &Process) {
    let line = long_line();
    for nth in 0..TRAPS {
        assert_eq!(process.get("/trap").await.0, 500);
        if nth % 10 == 0 {
            let print = format!("/print?n={}&err={line}&out={line}", LINES / 7);
            assert_eq!(process.get(&print).await.0, 200);
        }
        assert_eq!(process.get("/hello").await, (200, "hello\n".to_owned()), "after {nth} traps");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_streams_stop_nothing() {
    for version in [P2, P3] {
        let (admin, flag) = admin();
        let flags = [&*flag, "--max-guest-output=0"];
        let piped = Stdio::piped;
        let mut process = Process::start_unheard(version, &flags, piped(), piped()).await;
        storm(&process).await;
        for stream in ["stdout", "stderr"] {
            let lines = format!("millpond_output_lost_lines_total{{stream=\"{stream}\"}}");
            assert!(process.metric(admin, &lines).await > 0, "{version}: {stream}");
            let bytes = format!("millpond_output_lost_bytes_total{{stream=\"{stream}\"}}");
            assert!(process.metric(admin, &bytes).await > 100_000, "{version}: {stream}");
        }
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_streams_say_what_was_lost() {
    let flags = ["--max-guest-output=0"];
    let mut process = Process::start_unheard(P2, &flags, Stdio::piped(), Stdio::piped()).await;
    storm(&process).await;
    process.read_stdout();
    process.read_stderr();
    let says = |lines: Vec<String>| {
        lines.iter().any(|line| line.ends_with(" bytes: they could not be written]")).then_some(())
    };
    until("stdout says it", || says(process.stdout())).await;
    until("stderr says it", || says(process.stderr())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_needs_no_reader() {
    let (admin, flag) = admin();
    let flags = ["--max-guest-output=0", "--drain-timeout=1h", "--request-timeout=1h", &flag];
    let mut process = Process::start_unheard(P2, &flags, Stdio::piped(), Stdio::piped()).await;
    storm(&process).await;
    let addr = process.addr;
    let held = tokio::spawn(async move { millpond_tests::get(addr, "/never").await });
    process.measures(admin, "millpond_requests{stage=\"busy\"} 1").await;
    process.signal("TERM");
    until("no connection is accepted any more", || {
        std::net::TcpStream::connect(addr).is_err().then_some(())
    })
    .await;
    process.signal("TERM");
    assert_eq!(process.exit_code().await, Some(143));
    held.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_streams_end_nothing() {
    for version in [P2, P3] {
        let (admin, flag) = admin();
        let piped = Stdio::piped;
        let mut process = Process::start_unheard(version, &[&flag], piped(), piped()).await;
        process.close_stderr();
        storm(&process).await;
        let lost = "millpond_output_lost_lines_total{stream=\"stderr\"}";
        assert!(process.metric(admin, lost).await > 0, "{version}");
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0), "{version}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_nothing() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("Linux has it"));
    for version in [P2, P3] {
        let (admin, flag) = admin();
        let mut process = Process::start_unheard(version, &[&flag], full(), full()).await;
        storm(&process).await;
        for stream in ["stdout", "stderr"] {
            let lost = format!("millpond_output_lost_lines_total{{stream=\"{stream}\"}}");
            assert!(process.metric(admin, &lost).await > 0, "{version}: {stream}");
        }
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_prints_without_end_is_cut() {
    for version in [P2, P3] {
        let flags =
            ["--max-guest-output=1KiB", "--admin=127.0.0.1:0", "--max-instance-reuse-count=1"];
        let mut process = Process::start(version, &flags).await;
        let admin = process.announced("Admin on http://").await;
        let line = "x".repeat(100);
        assert_eq!(process.get(&format!("/print?n=20000&out={line}")).await.0, 200);
        // Another instance has its own.
        assert_eq!(process.get("/print?out=innocent").await.0, 200);
        until("the innocent is heard", || {
            process.stdout().iter().any(|line| line.ends_with(" :: innocent")).then_some(())
        })
        .await;
        // Of 2 MB it has 4 KiB, and one more for each second that it took.
        let printed: usize = process.stdout().iter().map(String::len).sum();
        assert!(printed < 500_000, "{version}: {printed}");
        process.logs("guests print more than they may").await;
        let cut = "millpond_output_lost_lines_total{stream=\"guests\"}";
        assert!(process.metric(admin, cut).await > 10_000, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_traps_are_summed_up() {
    let process = Process::start(P2, &[]).await;
    for _ in 0..TRAPS {
        assert_eq!(process.get("/trap").await.0, 500);
    }
    let traps = || {
        let stderr = process.stderr().into_iter();
        stderr.filter(|line| line.contains("an instance broke")).collect::<Vec<_>>()
    };
    // Twenty at once, and one for each second that passes.
    until("some are logged", || (traps().len() >= 20).then_some(())).await;
    assert!(traps().len() < TRAPS);
    // The next one says how many were not.
    until("one more is logged", || {
        traps().iter().any(|line| line.contains(" unlogged=")).then_some(()).or_else(|| {
            let _ = std::net::TcpStream::connect(process.addr).map(|mut stream| {
                std::io::Write::write_all(
                    &mut stream,
                    b"GET /trap HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
                )
            });
            None
        })
    })
    .await;
}

/// A middleware that traps in a function whose name is a line of the log.
const FORGER: &str = r#"(module
    (memory (export "memory") 1)
    (func $"f\n2026-01-01T00:00:00Z ERROR millpond: forged\r\u{1b}[2J\u{9b}2J\u{202e}" unreachable)
    (func (export "handle_request") (result i64) call 0 i64.const 1)
    (func (export "handle_response") (param i32 i32)))"#;

fn forger() -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("forger.wat");
    std::fs::write(&path, FORGER).expect("a file");
    path.to_str().expect("text").to_owned()
}

fn is_clean(line: &str) -> bool {
    !line.chars().any(|char| char.is_control() || ('\u{202a}'..='\u{202e}').contains(&char))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_functions_name_is_no_line_of_the_log() {
    let forger = forger();
    for format in ["text", "json"] {
        let format = format!("--log-format={format}");
        let process = Process::start(P2, &["--middleware", &forger, &format]).await;
        assert_eq!(process.get("/hello").await.0, 500);
        process.logs("a guest broke").await;
        process.logs("forged").await;
        let stderr = process.stderr();
        assert!(stderr.iter().all(|line| is_clean(line)), "{stderr:#?}");
        let of_it: Vec<_> = stderr.iter().filter(|line| line.contains("forged")).collect();
        assert_eq!(of_it.len(), 1, "{stderr:#?}");
        if format.ends_with("json") {
            let event: serde_json::Value = serde_json::from_str(of_it[0]).expect("JSON");
            assert_eq!(event["message"], "a guest broke");
        } else {
            assert!(
                of_it[0].contains(r"f\n2026-01-01T00:00:00Z ERROR millpond: forged"),
                "{}",
                of_it[0]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_prints_moves_no_cursor() {
    let process = Process::start(P2, &[]).await;
    let hostile = "a%0AERROR%20millpond:%20forged%1B[2J%C2%9B2J%E2%80%AE";
    assert_eq!(process.get(&format!("/print?out={hostile}&err={hostile}")).await.0, 200);
    for stream in ["stdout", "stderr"] {
        let lines = [
            format!("{stream} [1/1] :: a"),
            format!(r"{stream} [1/1] :: ERROR millpond: forged\u{{1b}}[2J\u{{9b}}2J\u{{202e}}"),
        ];
        for line in lines {
            match stream {
                "stdout" => process.prints(&line).await,
                _ => process.prints_error(&line).await,
            }
        }
    }
    assert!(process.stdout().iter().all(|line| is_clean(line)), "{:?}", process.stdout());
}

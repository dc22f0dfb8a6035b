//! What guests print, as it comes out of the binary.

use millpond::HttpVersion::{P2, P3};

use millpond_tests::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_names_its_instance_and_request() {
    for (version, flags) in [
        (P2, &[][..]),
        (P3, &["--max-instance-concurrent-reuse-count=1", "--max-instance-reuse-count=1"][..]),
    ] {
        let process = Process::start(version, flags).await;
        for _ in 0..2 {
            assert_eq!(process.get("/print?out=text&err=oops").await.0, 200);
        }
        for request in ["1/1", "2/2"] {
            process.prints(&format!("stdout [{request}] :: text")).await;
            process.prints_error(&format!("stderr [{request}] :: oops")).await;
        }
        assert_eq!(process.stdout().len(), 2, "{version}: {:?}", process.stdout());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reused_instance_tells_requests_apart() {
    for (version, flags) in [
        (P2, &["--max-instance-reuse-count=9"][..]),
        (P3, &["--max-instance-reuse-count=9", "--max-instance-concurrent-reuse-count=1"][..]),
    ] {
        let flags = [flags, &["--max-instances=1"]].concat();
        let process = Process::start(version, &flags).await;
        for _ in 0..3 {
            assert_eq!(process.get("/print?out=text").await.0, 200);
        }
        for request in ["1/1", "1/2", "1/3"] {
            process.prints(&format!("stdout [{request}] :: text")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_instance_names_no_request() {
    let process = Process::start(P3, &[]).await;
    assert_eq!(process.get("/print?out=text&err=oops").await.0, 200);
    process.prints("stdout [1] :: text").await;
    process.prints_error("stderr [1] :: oops").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_prefix_output_is_unchanged() {
    for version in [P2, P3] {
        let process = Process::start(version, &["--no-logging-prefix"]).await;
        assert_eq!(process.get("/print?out=text&err=oops").await.0, 200);
        process.prints("text").await;
        process.prints_error("oops").await;
        assert_eq!(process.stdout(), ["text"], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_reader_blocks_no_request() {
    // More than the pipe and all buffers hold.
    let line = "x".repeat(4000);
    for version in [P2, P3] {
        let mut process = Process::start_unread(version, &[]).await;
        for _ in 0..3 {
            let reply = process.get(&format!("/print?n=3000&out={line}")).await;
            assert_eq!(reply, (200, "printed\n".to_owned()), "{version}");
        }
        assert_eq!(process.get("/hello").await.0, 200, "{version}");

        process.read_stdout();
        // What waited is written now, and then there is room again.
        let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
        let lost = loop {
            assert_eq!(process.get("/print?out=again").await.0, 200);
            let stdout = process.stdout();
            if let Some(at) = stdout.iter().position(|line| line.ends_with(" :: again")) {
                break stdout[at - 1].clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "{version}: nothing comes any more");
        };
        assert!(
            lost.starts_with('[') && lost.ends_with(" bytes: they could not be written]"),
            "{version}: {lost:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_reader_does_not_block_exit() {
    let line = "x".repeat(4000);
    for version in [P2, P3] {
        let mut process = Process::start_unread(version, &[]).await;
        let reply = process.get(&format!("/print?n=3000&out={line}")).await;
        assert_eq!(reply.0, 200, "{version}");
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0), "{version}");
    }
}

//! A failing host: signals under load, disks that take no records, and a process that has nothing to do.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millpond::HttpVersion::{self, P2, P3};
use millpond_tests::{Client, PATIENCE, Process, Protocol, empty, free_addr, until, whole};
use tokio::time::Instant;

/// How often its threads went to sleep: each time one wakes up, it does so again.
#[cfg(target_os = "linux")]
fn sleeps(id: u32) -> Option<u64> {
    let mut all = 0;
    for task in std::fs::read_dir(format!("/proc/{id}/task")).ok()? {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        all += line.trim().parse::<u64>().ok()?;
    }
    Some(all)
}

/// Waits for a while in which no thread wakes up, long enough for hundreds of ticks.
#[cfg(target_os = "linux")]
async fn sleeps_for_a_while(id: u32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = sleeps(id);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if before.is_some() && sleeps(id) == before {
            return;
        }
        assert!(Instant::now() < deadline, "it wakes up again and again");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_nothing_to_do_does_not_wake_up() {
    for version in [P2, P3] {
        let flags = ["--request-timeout=300ms", "--admin=127.0.0.1:0"];
        let process = Process::start(version, &flags).await;
        sleeps_for_a_while(process.id()).await;
        assert_eq!(process.get("/hello").await.0, 200);
        sleeps_for_a_while(process.id()).await;
        // And yet a loop is found out.
        assert_eq!(process.get("/spin").await.0, 504, "{version}");
        assert_eq!(process.get("/hello").await.0, 200);
        sleeps_for_a_while(process.id()).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_middleware_does_not_wake_up() {
    let guest = millpond_tests::guest_module().to_str().expect("text");
    let flags = ["--middleware", guest, "--request-timeout=300ms"];
    let process = Process::start(P2, &flags).await;
    sleeps_for_a_while(process.id()).await;
    let mut client = process.connect(Protocol::Http1).await;
    let request = client.request("/hello").header("x-request", "spin").body(empty());
    assert_eq!(whole(client.send(request.unwrap()).await.unwrap()).await.status, 504);
}

/// Clients that ask one after the other until told to stop. What is answered is right.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    broken: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn start(process: &Process) -> Self {
        let (stop, answered, broken): (Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>) =
            Default::default();
        let mut clients = Vec::new();
        for nth in 0..8 {
            let protocol = if nth % 2 == 0 { Protocol::Http1 } else { Protocol::H2c };
            let mut client: Client = process.connect(protocol).await;
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let broken = Arc::clone(&broken);
            clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let request = client.request("/drip?n=3&ms=1").body(empty()).unwrap();
                    // No connection any more: that is the end.
                    let Ok(response) = client.send(request).await else { return };
                    let reply = whole(response).await;
                    match reply.status.as_u16() {
                        503 => {}
                        // A body that broke off does not look whole.
                        200 if reply.broken => {
                            broken.fetch_add(1, Ordering::Relaxed);
                        }
                        200 => {
                            assert_eq!(reply.text(), "drip 0\ndrip 1\ndrip 2\n");
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        status => panic!("{status}"),
                    }
                }
            }));
        }
        Self { stop, answered, broken, clients }
    }

    async fn answers(&self, count: usize) {
        until("it answers", || (self.answered.load(Ordering::Relaxed) >= count).then_some(()))
            .await;
    }

    /// Returns how many answers broke off.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("what was answered was right");
        }
        self.broken.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_well() {
    for version in [P2, P3] {
        let mut process = Process::start(version, &[]).await;
        let load = Load::start(&process).await;
        load.answers(50).await;
        process.signal("TERM");
        assert_eq!(process.exit_code().await, Some(0), "{version}");
        assert_eq!(load.end().await, 0, "what had begun was answered whole");
        let stderr = process.stderr();
        assert!(stderr.iter().any(|line| line.contains("stopped")), "its last line: {stderr:#?}");
        assert!(!stderr.iter().any(|line| line.contains("left instances behind")), "{stderr:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigkill_the_next_one_takes_over() {
    let addr = free_addr();
    let start =
        async || Process::start_unheard_at(addr, P2, &[], Stdio::piped(), Stdio::piped()).await;
    for _ in 0..3 {
        let mut process = start().await;
        let load = Load::start(&process).await;
        load.answers(20).await;
        process.signal("KILL");
        assert_eq!(process.exit_code().await, None);
        load.end().await;
    }
    assert_eq!(start().await.get("/hello").await.0, 200);
}

fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

async fn records(version: HttpVersion, flags: &[&str]) -> (Process, std::net::SocketAddr) {
    let flags = [&["--admin=127.0.0.1:0"], flags].concat();
    let mut process = Process::start(version, &flags).await;
    let admin = process.announced("Admin on http://").await;
    (process, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_dumps_do_not_fill_the_disk() {
    let dir = dir("few-dumps");
    let flag = format!("--coredump={}", dir.display());
    let (mut process, admin) = records(P2, &[&flag, "--max-record-files=2"]).await;
    for _ in 0..20 {
        assert_eq!(process.get("/trap").await.0, 500);
        assert_eq!(process.get("/hello").await.0, 200);
    }
    process.measures(admin, "millpond_records_total{result=\"written\"} 2").await;
    process.measures(admin, "millpond_records_total{result=\"lost\"} 18").await;
    process.measures(admin, "millpond_retired_total{reason=\"trap\"} 20").await;
    process.logs("cannot write a core dump").await;
    let logged = process.stderr().iter().filter(|line| line.contains("cannot write")).count();
    assert!(logged < 18, "{logged}");
    process.signal("TERM");
    assert_eq!(process.exit_code().await, Some(0));
    assert_eq!(std::fs::read_dir(dir).expect("it is there").count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_core_dumps_do_not_fill_the_disk() {
    let dir = dir("small-dumps");
    let flag = format!("--coredump={}", dir.display());
    let flags =
        [&*flag, "--max-record-bytes=64KiB", "--max-instances=1", "--max-instance-reuse-count=9"];
    let (process, admin) = records(P2, &flags).await;
    assert_eq!(process.get("/alloc?mib=1").await.0, 200);
    assert_eq!(process.get("/trap").await.0, 500);
    process.measures(admin, "millpond_records_total{result=\"lost\"} 1").await;
    assert_eq!(std::fs::read_dir(dir).expect("it is there").count(), 0);
}

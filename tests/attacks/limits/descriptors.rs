//! Guests and clients that take all the descriptors and threads they can get.

use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::Command;

use millpond::HttpVersion;
use millpond_tests::{Client, Process, Protocol, guest, until};
use tokio::net::TcpListener;

/// As `ulimit -n` would have it.
const LIMIT: usize = 256;

fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), "there\n").unwrap();
    dir
}

/// A named pipe in a directory.
fn pipe(dir: &std::path::Path) {
    let pipe = dir.join("pipe");
    if !pipe.exists() {
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
}

/// What `/metrics` says of a share: in use, and its limit.
async fn share(admin: std::net::SocketAddr, name: &str) -> (usize, usize) {
    let (_, text) = millpond_tests::get(admin, "/metrics").await;
    let value = |family: &str| {
        let line = format!("{family}{{share=\"{name}\"}} ");
        let line = text.lines().find_map(|other| other.strip_prefix(&line));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    };
    (value("millpond_descriptors"), value("millpond_descriptors_limit"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once_starve_no_others() {
    let dir = directory("descriptors");
    let given = format!("--dir={}::/data", dir.display());
    let mut process = Process::limited(
        LIMIT,
        &[guest(HttpVersion::P2).to_str().unwrap(), &given, "--admin=127.0.0.1:0"],
    )
    .await;
    let admin = process.announced("Admin on http://").await;
    let mut innocent = process.connect(Protocol::Http1).await;
    assert_eq!(innocent.get("/hello").await.text(), "hello\n");

    // A service that accepts and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let mut hostile = tokio::task::JoinSet::new();
    for path in [
        format!("/fetch-many?url=http://{silent}/&n=200&ms=3000"),
        format!("/fetch-many?url=http://{silent}/&n=200&ms=3000"),
        "/open-many?path=/data/file&n=200&ms=3000".to_owned(),
        "/open-many?path=/data/file&n=200&ms=3000".to_owned(),
    ] {
        let mut client = process.connect(Protocol::Http1).await;
        hostile.spawn(async move { client.get(&path).await.text().trim().parse::<usize>() });
    }
    let (_, outbound) = share(admin, "outbound").await;
    let (_, files) = share(admin, "files").await;
    let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
    for (name, limit) in [("outbound", outbound), ("files", files)] {
        while share(admin, name).await.0 < limit {
            assert!(tokio::time::Instant::now() < deadline, "{name} does not fill up");
            assert_eq!(innocent.get("/hello").await.text(), "hello\n", "{name} fills up");
        }
    }

    // As many clients as there can be, and more that wait in the kernel.
    let (_, connections) = share(admin, "connections").await;
    let mut clients = Vec::new();
    for _ in 0..connections + 20 {
        clients.push(std::net::TcpStream::connect(process.addr).unwrap());
    }
    until("all places are taken", || {
        let stderr = process.stderr();
        let starved = stderr.iter().find(|line| line.contains("cannot accept"));
        assert_eq!(starved, None, "an accept failed");
        let open = std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count();
        assert!(open < LIMIT, "{open} descriptors");
        (open > connections + outbound).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(innocent.get("/hello").await.text(), "hello\n");
        assert_eq!(innocent.get("/read?path=/data/none").await.status, 404);
    }
    drop(clients);

    let mut counts = Vec::new();
    while let Some(count) = hostile.join_next().await {
        counts.push(count.unwrap().unwrap());
    }
    held.abort();
    let mut client = process.connect(Protocol::Http1).await;
    assert_eq!(client.get("/read?path=/data/file").await.text(), "there\n", "{counts:?}");
    for name in ["outbound", "files"] {
        until_free(admin, name).await;
    }
    assert!(!process.stderr().iter().any(|line| line.contains("cannot accept")));
}

async fn until_free(admin: std::net::SocketAddr, name: &str) {
    let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
    while share(admin, name).await.0 > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{name} is not given back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_has_its_own_limits() {
    let dir = directory("one-instance");
    let given = format!("--dir={}::/data", dir.display());
    for version in [HttpVersion::P2, HttpVersion::P3] {
        let process = Process::start(version, &[&given]).await;
        let path = if version == HttpVersion::P2 { "/data/file" } else { "file" };
        let (_, opened) = process.get(&format!("/open-many?path={path}&n=150")).await;
        assert_eq!(opened, "100\n", "{version:?}");
        assert_eq!(process.get("/read?path=/data/file").await, (200, "there\n".into()));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let process = Process::start(HttpVersion::P2, &[]).await;
    let (_, refused) = process.get(&format!("/fetch-many?url=http://{silent}/&n=150&ms=100")).await;
    assert_eq!(refused, "86\n", "64 are under way");
}

/// More than the runtime has blocking threads.
const OPENS: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_holds_no_thread() {
    let dir = directory("pipe");
    pipe(&dir);
    let given = format!("--dir={}::/data", dir.display());
    let process = Process::start(HttpVersion::P2, &[&given, "--request-timeout=2s"]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let addr = process.addr;
        tasks.spawn(async move {
            let mut statuses = Vec::new();
            let mut client = Client::connect(addr, Protocol::H2c).await;
            for _ in 0..OPENS / 20 {
                statuses.push(client.get("/read?path=/data/pipe").await.status.as_u16());
            }
            statuses
        });
    }
    while let Some(statuses) = tasks.join_next().await {
        let statuses = statuses.unwrap();
        assert!(statuses.iter().all(|status| *status == 404), "{statuses:?}");
    }
    assert_eq!(process.get("/read?path=/data/file").await, (200, "there\n".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_directory_is_not_listed_whole() {
    let dir = directory("large");
    // wasi:filesystem 0.2 has all of it at once. This is 2 MB.
    for i in 0..8000 {
        std::fs::write(dir.join(format!("{i:0>200}")), "").unwrap();
    }
    let small = directory("small");
    let given = [("large", &dir), ("small", &small)]
        .map(|(name, dir)| format!("--dir={}::/{name}", dir.display()));
    let process = Process::start(HttpVersion::P2, &[&given[0], &given[1]]).await;
    assert_eq!(process.get("/list?path=/large").await.0, 403);
    assert_eq!(process.get("/list?path=/small").await, (200, "1\n".into()));
}

/// Entries in the directory: more than are read at a time.
const ENTRIES: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_holds_no_thread() {
    let dir = directory("listing");
    for i in 1..ENTRIES {
        std::fs::write(dir.join(i.to_string()), "").unwrap();
    }
    let given = format!("--dir={}::/data", dir.display());
    let alone = "--max-instance-concurrent-reuse-count=1";
    let process = Process::start(HttpVersion::P3, &[&given, alone]).await;
    assert_eq!(process.get("/list?n=1").await.1, format!("{ENTRIES} Ok(())\n"));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let addr = process.addr;
        tasks.spawn(async move {
            let mut client = Client::connect(addr, Protocol::Http1).await;
            client.get("/list?n=80&ms=1500").await.status.as_u16()
        });
    }
    // 640 listings, if they were not bounded.
    while !tasks.is_empty() {
        let threads = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap().count();
        assert!(threads < 300, "{threads} threads");
        assert_eq!(process.get("/read?path=/data/file").await, (200, "there\n".into()));
        while let Some(status) = tasks.try_join_next() {
            assert_eq!(status.unwrap(), 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_keeps_its_place() {
    // All of it is read at once, and the listing is not at its end.
    let given = format!("--dir={}::/data", directory("few").display());
    let process = Process::start(HttpVersion::P3, &[&given]).await;
    assert_eq!(process.get("/list?n=100").await.1, "1 Ok(())\n");
    let (_, text) = process.get("/list?n=101").await;
    assert!(text.starts_with("0 Err("), "100 of an instance may be open: {text}");
    assert_eq!(process.get("/list?n=100").await.1, "1 Ok(())\n", "they come back");
}

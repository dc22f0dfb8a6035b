//! What instances leave behind: profiles and core dumps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use millpond::wasmtime::component::Component;
use millpond::wasmtime::{Cache, CacheConfig, Config, Engine};
use millpond::{Builder, HttpVersion, Reason, WasiHost, WasmPool};
use millpond_tests::{Server, guest, pool, until};

use crate::setup::{
    Recorder, SECOND, Sent, Setup, assert_answer, assert_failure, drain, p2_fresh, p2_reused,
};

/// A directory of the test's own, removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("records-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    /// What is in it, by name.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(&self.0).expect("it was made");
        let read = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().expect("text");
            (name, std::fs::read(entry.path()).expect("a file"))
        };
        entries.map(|entry| read(entry.expect("an entry"))).collect()
    }

    /// The samples in the only profile.
    #[track_caller]
    fn samples(&self) -> usize {
        let files = self.files();
        assert_eq!(files.len(), 1, "one profile: {:?}", files.keys());
        let stacks = stacks(files.values().next().expect("one"));
        assert!(stacks.iter().any(serde_json::Value::is_u64), "samples have stacks");
        stacks.len()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The stack of each sample in a profile.
fn stacks(json: &[u8]) -> Vec<serde_json::Value> {
    let profile: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    profile["threads"][0]["samples"]["stack"].as_array().expect("it has samples").clone()
}

/// The file of an instance of this process.
fn file(setup: Setup, instance: u64, rest: &str) -> String {
    let stem = guest(setup.version()).file_stem().expect("a file").to_str().expect("text");
    format!("{stem}-{}-{instance}{rest}", std::process::id())
}

async fn gone(server: &Server<WasiHost>) {
    server.until("the instance is gone", |now| now.instances.live() == 0).await;
}

async fn each_trap_leaves_its_own_core_dump(setup: Setup) {
    let dir = Dir::new();
    let mut before = BTreeMap::new();
    // Both pools number their instances from 1.
    for again in ["", "-2"] {
        let server = setup.serve_with(|builder| builder.coredump_dir(&dir.0)).await;
        for instance in [1, 2] {
            let reply = server.get("/trap").await;
            assert_failure(&reply, 500, "proxy_internal_error", "guest trapped");
            gone(&server).await;
            server.pool.records_written().await;
            let name = file(setup, instance, &format!("{again}.coredump"));
            let files = dir.files();
            let new: Vec<_> = files.keys().filter(|name| !before.contains_key(*name)).collect();
            assert_eq!(new, [&name], "it is there when that is awaited");
            assert!(files[&name].starts_with(b"\0asm"), "a core dump is a module");
            assert!(files[&name].len() > 10_000, "with the guest's memory");
            assert!(before.iter().all(|(name, bytes)| files[name] == *bytes), "none has changed");
            before = files;
        }
        let now = drain(&server).await;
        assert_eq!((now.retired.get(Reason::Trap), now.failed), (2, 2));
    }
    assert_eq!(before.len(), 4);
}
setups!(each_trap_leaves_its_own_core_dump);

async fn what_is_no_trap_leaves_no_core_dump(setup: Setup) {
    let dir = Dir::new();
    let server = setup
        .serve_with(|builder| {
            builder.coredump_dir(&dir.0).limits(|limits| limits.request_timeout = SECOND)
        })
        .await;
    assert_answer(&server.get("/hello").await, "hello\n");
    assert_failure(&server.get("/exit").await, 500, "proxy_internal_error", "guest exited");
    assert_eq!(server.get("/spin").await.status, 504);
    drain(&server).await;
    assert_eq!(dir.files(), BTreeMap::new());
}
setups!(what_is_no_trap_leaves_no_core_dump);

async fn a_guest_that_computes_leaves_a_profile(setup: Setup) {
    let dir = Dir::new();
    let server = setup.serve_with(|builder| builder.profile_dir(&dir.0)).await;
    assert_answer(&server.get("/spin?ms=500").await, "spun\n");
    drain(&server).await;
    assert_eq!(dir.files().keys().collect::<Vec<_>>(), [&file(setup, 1, ".json")]);
    assert!(dir.samples() >= 10, "{}", dir.samples());
}
setups!(a_guest_that_computes_leaves_a_profile);

async fn a_stopped_guest_leaves_its_profile(setup: Setup) {
    let dir = Dir::new();
    let server = setup
        .serve_with(|builder| {
            builder.profile_dir(&dir.0).limits(|limits| limits.request_timeout = SECOND)
        })
        .await;
    assert_eq!(server.get("/spin").await.status, 504);
    gone(&server).await;
    server.pool.records_written().await;
    assert!(dir.samples() >= 10, "{}", dir.samples());
}
setups!(a_stopped_guest_leaves_its_profile);

async fn a_guest_that_waits_is_hardly_sampled(setup: Setup) {
    let dir = Dir::new();
    let server = setup.serve_with(|builder| builder.profile_dir(&dir.0)).await;
    let drips = server.get("/drip?n=100&ms=10").await;
    assert_eq!((drips.text().lines().count(), drips.broken), (100, false));
    drain(&server).await;
    let files = dir.files();
    assert!(files.len() <= 1, "{:?}", files.keys());
    let samples: usize = files.values().map(|json| stacks(json).len()).sum();
    assert!(samples < 50, "{samples} samples in a second of waiting, woken 100 times");
}
setups!(a_guest_that_waits_is_hardly_sampled);

#[test]
fn the_runtimes_end_loses_no_profile() {
    let dir = Dir::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(async {
        let server = p2_reused().serve_with(|builder| builder.profile_dir(&dir.0)).await;
        // By the guest's own clock: when it answers it has computed for so long.
        assert_answer(&server.get("/spin?ms=500").await, "spun\n");
        server.until("it is idle", |now| now.instances.idle == 1).await;
        let _ = Sent::get(&server, "/spin");
        let now = server.until("it computes again", |now| now.busy == 1).await;
        assert_eq!(now.starts, 1, "on the same instance");
        server
    });
    let written = server.pool.clone();
    drop(runtime);
    drop(server);
    // Also without a runtime of its own.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(written.records_written());
    assert!(dir.samples() >= 10, "{}", dir.samples());
}

/// With one thread that serves, whatever blocks it blocks all.
#[tokio::test]
async fn a_core_dump_is_made_on_another_thread() {
    type Change = fn(Builder<Recorder>, &Path) -> Builder<Recorder>;
    let cases: [(Change, [bool; 2]); 3] = [
        (|builder, _| builder, [false, false]),
        (|builder, dir| builder.coredump_dir(dir), [false, true]),
        (|builder, dir| builder.profile_dir(dir), [false, false]),
    ];
    for (change, aside) in cases {
        let dir = Dir::new();
        let (mut recorder, record) = Recorder::new();
        let (serves, ends) = (std::thread::current().id(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&ends);
        recorder.at_retire = Box::new(move |_| {
            seen.lock().expect("no panic").push(std::thread::current().id() != serves);
        });
        let server = p2_fresh().serve_host(recorder, |builder| change(builder, &dir.0)).await;
        assert_answer(&server.get("/hello").await, "hello\n");
        record.retired(1).await;
        assert_eq!(server.get("/trap").await.status, 500);
        drain(&server).await;
        assert_eq!(*ends.lock().expect("no panic"), aside);
    }
}

async fn failed_writes_harm_no_request(setup: Setup) {
    let dir = Dir::new();
    let records = |builder: Builder<WasiHost>| {
        builder.profile_dir(&dir.0).coredump_dir(&dir.0).limits(|limits| limits.max_instances = 1)
    };
    let server = setup.serve_with(records).await;
    std::fs::remove_dir(&dir.0).expect("it is empty");
    for _ in 0..3 {
        assert_answer(&server.get("/spin?ms=20").await, "spun\n");
        assert_eq!(server.get("/trap").await.status, 500);
    }
    let now = drain(&server).await;
    assert_eq!((now.responded, now.failed, now.retired.get(Reason::Trap)), (3, 3, 3));
    assert!(!dir.0.exists());
}
setups!(failed_writes_harm_no_request);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_engine_decides_what_is_recorded() {
    for core_dumps in [true, false] {
        let dir = Dir::new();
        let mut config = Config::new();
        let cache = Cache::new(CacheConfig::new()).expect("a cache");
        config.epoch_interruption(true).coredump_on_trap(core_dumps).cache(Some(cache));
        let engine = Engine::new(&config).expect("an engine");
        let component = Component::from_file(&engine, guest(HttpVersion::P2)).expect("it compiles");
        let builder = WasmPool::builder(WasiHost::new());
        let builder = builder.profile_dir(&dir.0).coredump_dir(&dir.0);
        let server = Server::start(builder.from_component(&component).expect("a pool")).await;
        assert_answer(&server.get("/spin?ms=300").await, "spun\n");
        gone(&server).await;
        server.pool.records_written().await;
        until("the profile is there", || (!dir.files().is_empty()).then_some(())).await;
        assert!(dir.samples() >= 5, "{}", dir.samples());
        assert_eq!(server.get("/trap").await.status, 500);
        gone(&server).await;
        server.pool.records_written().await;
        let dump = format!("component-{}-2.coredump", std::process::id());
        assert_eq!(dir.files().contains_key(&dump), core_dumps);
    }
}

#[tokio::test]
async fn an_unwritable_directory_is_refused() {
    let dir = Dir::new();
    drop(pool(HttpVersion::P2, |builder| builder.profile_dir(&dir.0)).await);
    assert_eq!(dir.files(), BTreeMap::new(), "it was made, and nothing is left of the trial");
    let taken = dir.0.join("taken");
    std::fs::write(&taken, "").expect("it can be written to");
    let builder = || WasmPool::builder(WasiHost::new());
    for (builder, what) in [
        (builder().profile_dir(&taken), "profiles"),
        (builder().coredump_dir(&taken), "core dumps"),
    ] {
        let error = builder.from_file(guest(HttpVersion::P2)).expect_err("no directory");
        let expected = format!("cannot write {what} to {}: not a directory", taken.display());
        assert_eq!(error.to_string(), expected);
    }
}

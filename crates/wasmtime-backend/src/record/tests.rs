use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;

/// A directory of the test's own, removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("millpond-{}-{next}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let dir = Dir::new();
    for text in ["one", "two", "three"] {
        let (_, mut file) = create(&dir.0, "app-7-1", "json").unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    assert_eq!(dir.names(), ["app-7-1-2.json", "app-7-1-3.json", "app-7-1.json"]);
    let read = |name| std::fs::read_to_string(dir.0.join(name)).unwrap();
    assert_eq!(read("app-7-1.json"), "one");
    assert_eq!(read("app-7-1-2.json"), "two");
    assert_eq!(read("app-7-1-3.json"), "three");
}

#[test]
fn half_a_file_is_not_left() {
    let dir = Dir::new();
    let full = |out: &mut Out| {
        out.write_all(&[0; 100_000])?;
        Err(wasmtime::format_err!("the disk is full"))
    };
    let error = fill(&dir.0, "app-7-1", "json", full).unwrap_err();
    assert_eq!((error.to_string().as_str(), dir.names()), ("the disk is full", vec![]));
    fill(&dir.0, "app-7-1", "json", |out| Ok(out.write_all(b"{}")?)).unwrap();
    assert_eq!(std::fs::read(dir.0.join("app-7-1.json")).unwrap(), b"{}");
}

#[cfg(unix)]
#[test]
fn a_link_is_not_followed_and_nobody_else_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let target = dir.0.join("target");
    std::os::unix::fs::symlink(&target, dir.0.join("app-7-1.coredump")).unwrap();
    let (path, file) = create(&dir.0, "app-7-1", "coredump").unwrap();
    assert_eq!(path, dir.0.join("app-7-1-2.coredump"));
    assert!(!target.exists());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_directory_is_made_and_left_empty() {
    let dir = Dir::new();
    check(&dir.0.join("a/b")).unwrap();
    check(&dir.0.join("a/b")).unwrap();
    assert_eq!(std::fs::read_dir(dir.0.join("a/b")).unwrap().count(), 0);
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = Dir::new();
    let file = dir.0.join("file");
    std::fs::write(&file, "mine").unwrap();
    for (place, kind) in [(file.clone(), "profiles"), (file.join("below"), "core dumps")] {
        let mut dirs = RecordDirs::default();
        match kind {
            "profiles" => dirs.profiles = Some(place.clone()),
            _ => dirs.core_dumps = Some(place.clone()),
        }
        let error = dirs.check().unwrap_err().to_string();
        let expected = format!("cannot write {kind} to {}: ", place.display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.to_lowercase().contains("not a directory"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_guest_that_waited_has_not_computed_all_the_time() {
    let ticks = Arc::new(AtomicU64::new(5));
    let resumed = Resumed { at: Arc::new(AtomicU64::new(5)), ticks: Arc::clone(&ticks) };
    ticks.store(6, Ordering::Relaxed);
    assert!(!resumed.waited(), "its tick is over");
    ticks.store(7, Ordering::Relaxed);
    assert!(resumed.waited());
    resumed.now();
    assert!(!resumed.waited());
}

#[test]
fn few_are_written_about_at_a_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let (begun, begins) = channel();
    // For each that comes out, one of them ends.
    let (end, ends) = channel::<()>();
    let ends = Arc::new(Mutex::new(ends));
    for _ in 0..3 * MAX_WRITERS {
        let (begun, ends) = (begun.clone(), Arc::clone(&ends));
        aside(runtime.handle(), move || {
            begun.send(()).unwrap();
            ends.lock().unwrap().recv().unwrap();
        });
    }
    let (mut at_work, mut all) = (0, 0);
    for _ in 0..3 * MAX_WRITERS {
        if at_work == 0 {
            begins.recv_timeout(Duration::from_secs(30)).expect("the next one begins");
            (at_work, all) = (1, all + 1);
        }
        // Whoever else would begin has time to: too little of it cannot fail the test.
        while begins.recv_timeout(Duration::from_millis(50)).is_ok() {
            (at_work, all) = (at_work + 1, all + 1);
        }
        assert!(at_work <= MAX_WRITERS, "{at_work} at a time");
        end.send(()).unwrap();
        at_work -= 1;
    }
    assert_eq!(all, 3 * MAX_WRITERS);
}

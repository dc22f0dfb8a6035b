use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::file::create;
use super::profile::is_late;
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
    let error = fill(&dir.0, "app-7-1", "json", u64::MAX, full).unwrap_err();
    assert_eq!((error.to_string().as_str(), dir.names()), ("the disk is full", vec![]));
    fill(&dir.0, "app-7-1", "json", u64::MAX, |out| Ok(out.write_all(b"{}")?)).unwrap();
    assert_eq!(std::fs::read(dir.0.join("app-7-1.json")).unwrap(), b"{}");
}

#[cfg(unix)]
#[test]
fn new_files_are_private_and_follow_no_link() {
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
fn waiting_is_not_computing() {
    assert!(!is_late(5, 6), "its tick is over");
    assert!(is_late(5, 7));
}

#[test]
fn one_is_written_at_a_time() {
    let (began, begins) = channel();
    let (end, ends) = channel::<()>();
    let ends = Arc::new(Mutex::new(ends));
    for nth in 0..5 {
        let (began, ends) = (began.clone(), Arc::clone(&ends));
        writer::write(move || {
            began.send(nth).unwrap();
            ends.lock().unwrap().recv().unwrap();
            assert!(nth != 2, "what panics is the end of none but itself");
        });
    }
    for nth in 0..5 {
        assert_eq!(begins.recv_timeout(Duration::from_secs(30)), Ok(nth));
        // Another one that would begin has time to: too little of it cannot fail the test.
        assert!(begins.recv_timeout(Duration::from_millis(20)).is_err());
        end.send(()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_records_is_bounded() {
    let outstanding = Outstanding::default();
    outstanding.none().await;
    let began = outstanding.begin();
    let waiting = tokio::spawn({
        let outstanding = outstanding.clone();
        async move { outstanding.none().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(began);
    waiting.await.unwrap();

    let _slow = outstanding.begin();
    let before = tokio::time::Instant::now();
    outstanding.none().await;
    assert_eq!(before.elapsed(), Duration::from_secs(5));
}

#[test]
fn a_file_has_no_more_bytes_than_it_may() {
    let dir = Dir::new();
    let put = |bytes: &'static [u8]| move |out: &mut Out| Ok(out.write_all(bytes)?);
    let (_, length) = fill(&dir.0, "app-7-1", "json", 10, put(b"0123456789")).unwrap();
    assert_eq!(length, 10);
    let error = fill(&dir.0, "app-7-2", "json", 9, put(b"0123456789")).unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
    assert_eq!(dir.names(), ["app-7-1.json"]);
}

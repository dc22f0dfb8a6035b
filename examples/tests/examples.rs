//! The examples as their readers run them: started, called over sockets, and watched.
//!
//! `cargo test --workspace` builds them; `cargo test --test examples` alone does not.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// For anything at all, on a machine that is busy with something else.
const LIMIT: Duration = Duration::from_secs(120);

/// An example, killed when dropped.
struct Example {
    child: Child,
    addr: SocketAddr,
    /// What it says on stderr.
    log: Receiver<String>,
}

impl Example {
    fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(Self::binary(name))
            .env("ADDR", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        let Ok(line) = output.recv_timeout(LIMIT) else {
            let _ = child.kill();
            panic!("{name} does not listen: {:?}", log.iter().collect::<Vec<_>>());
        };
        let addr =
            line.strip_prefix("Listening on http://").and_then(|rest| rest.strip_suffix('/'));
        let addr = addr.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        Self { child, addr, log }
    }

    fn binary(name: &str) -> PathBuf {
        let deps = env::current_exe().unwrap();
        let binary = deps.ancestors().nth(2).unwrap().join("examples").join(name);
        assert!(binary.exists(), "`cargo build --workspace --examples` makes {}", binary.display());
        binary
    }

    /// Sends a request, and leaves the answer to be read.
    fn send(&self, path: &str) -> TcpStream {
        self.send_raw(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
    }

    fn send_raw(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Answer {
        Answer::read(self.send(path))
    }

    /// Asks for the statistics until they contain `text`.
    fn stats_say(&self, text: &str) {
        let began = Instant::now();
        loop {
            let stats = self.get("/stats");
            assert_eq!(stats.status, 200);
            if stats.body.contains(text) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "no {text:?} in {:?}", stats.body);
        }
    }

    /// Waits for a line on stderr that contains `text`.
    fn logs(&self, text: &str) {
        while !self.log.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no {text:?}")).contains(text)
        {
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that waiting for one can end.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    /// As it came: in chunks, if it came in chunks.
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// It is what the pool says when no guest answers.
    #[track_caller]
    fn is_error(&self, status: u16, what: &str) {
        assert_eq!((self.status, &*self.body), (status, what), "{self:?}");
        assert!(self.head.contains("\r\nproxy-status: millpond;"), "{self:?}");
        assert_eq!(self.head.contains("\r\nretry-after: "), status == 503, "{self:?}");
    }
}

#[test]
fn axum_serves_component_and_native_routes() {
    let example = Example::start("axum", &[]);
    let native = example.get("/native");
    assert_eq!((native.status, &*native.body), (200, "answered by Rust\n"));

    let page = example.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<html"), "{page:?}");

    // Both mounts are one pool, and the second one takes its prefix off.
    assert_eq!(example.get("/counter").body, "1\n");
    assert_eq!(example.get("/guest/counter").body, "2\n");
    assert_eq!(example.get("/guest/counter?a=b").body, "3\n");
    assert_eq!(example.get("/nothing").status, 404);

    example.stats_say("requests: 5 answered, 0 failed, 0 refused, 0 running, 0 queued\n");
    example.stats_say("instances: 1 live, 1 idle\n");
}

#[cfg(unix)]
#[test]
fn axum_answers_what_runs_before_it_ends() {
    let mut example = Example::start("axum", &[]);
    let stream = example.send("/stream");
    example.stats_say(" 1 running");
    interrupt(&example);
    let answer = Answer::read(stream);
    assert!(answer.body.contains("line 10 of 10\n"), "{answer:?}");
    assert!(answer.body.ends_with("\r\n0\r\n\r\n"), "{answer:?}");
    assert!(example.child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn axum_ends_at_once_when_told_twice() {
    let mut example = Example::start("axum", &[]);
    let _slow = example.send("/slow?ms=60000");
    example.stats_say(" 1 running");
    let began = Instant::now();
    // Signals that come in quick succession may count as one.
    while example.child.try_wait().unwrap().is_none() {
        interrupt(&example);
    }
    assert!(example.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(30), "it was not told, it timed out");
}

#[cfg(unix)]
fn interrupt(example: &Example) {
    let pid = example.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn children_are_pooled() {
    let example = Example::start("children", &[]);
    let child = |answer: Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.trim_end().strip_prefix("/hello from ").expect("its answer").to_owned()
    };
    let first = child(example.get("/hello"));
    assert_eq!(child(example.get("/hello")), first, "it is reused");
    example.stats_say("children: 1 live, 0 ended\n");

    let exited = example.get("/exit");
    let said = "guest exited (instance ended: exit)\n";
    assert_eq!((exited.status, &*exited.body), (500, said));
    example.stats_say("children: 0 live, 1 ended\n");
    let second = child(example.get("/hello"));
    assert_ne!(second, first);

    // Twenty at once are more than there may be children. Each gets the answer to its own line.
    let mut children = BTreeSet::new();
    let many: Vec<_> = (0..20).map(|n| (n, example.send(&format!("/hello/{n}")))).collect();
    for (n, stream) in many {
        let answer = Answer::read(stream);
        assert_eq!(answer.status, 200, "{answer:?}");
        let child = answer.body.strip_prefix(&format!("/hello/{n} from "));
        children.insert(child.unwrap_or_else(|| panic!("{answer:?}")).to_owned());
    }
    assert!(children.len() <= 4, "{children:?}");

    // Of six at a time, two wait. Children that are too slow are killed; others serve what waited.
    let slow: Vec<_> = (0..6).map(|_| example.send("/sleep")).collect();
    for answer in slow.into_iter().map(Answer::read) {
        assert_eq!((answer.status, &*answer.body), (504, "request timeout\n"));
    }
    example.stats_say("children: 0 live, 7 ended\n");
    child(example.get("/hello"));
}

/// Stands in for `/proc/meminfo`.
struct Meminfo(PathBuf);

impl Meminfo {
    fn new(name: &str, available_kib: u64) -> Self {
        let this = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        this.set(available_kib);
        this
    }

    fn set(&self, available_kib: u64) {
        let text = format!("MemTotal:       16000000 kB\nMemAvailable:   {available_kib} kB\n");
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        // In one step, so that the example never reads half of it.
        std::fs::rename(new, &self.0).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

#[test]
fn expiration_ends_idle_ones_on_low_memory() {
    let meminfo = Meminfo::new("meminfo", 1000);
    let settings = [("MEMINFO", meminfo.path()), ("MEMORY_LOW_BYTES", "512000")];
    let example = Example::start("expiration", &settings);
    assert_eq!(example.get("/counter").body, "1\n");
    assert_eq!(example.get("/counter").body, "2\n");
    example.stats_say("instances: 1 live, 0 ended to save memory");

    // One that is idle ends, though nothing happens to it that its pool could see.
    meminfo.set(499);
    example.logs("Memory is low: 510976 bytes");
    example.stats_say("instances: 0 live, 1 ended to save memory");

    // One that is busy ends once it no longer is, and answers before.
    assert_eq!(example.get("/counter").body, "1\n");
    example.stats_say("instances: 0 live, 2 ended to save memory");

    // One that is busy while memory is low, and not when it is idle again, stays.
    let slow = example.send("/slow?ms=10000");
    example.stats_say("instances: 1 live");
    meminfo.set(500);
    example.logs("Memory is no longer low");
    assert_eq!(Answer::read(slow).status, 200);
    assert_eq!(example.get("/counter").body, "1\n");
    assert_eq!(example.get("/counter").body, "2\n");
    example.stats_say("instances: 1 live, 2 ended to save memory");
}

#[cfg(target_os = "linux")]
#[test]
fn expiration_reads_the_machine_s_memory() {
    let example = Example::start("expiration", &[("MEMORY_LOW_BYTES", "1152921504606846976")]);
    example.logs("Memory is low");
    assert_eq!(example.get("/counter").body, "1\n");
    example.stats_say("instances: 0 live, 1 ended to save memory");
}

#[test]
fn expiration_never_fires_without_meminfo() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such-file");
    let low = ("MEMORY_LOW_BYTES", "18446744073709551615");
    let example = Example::start("expiration", &[("MEMINFO", nowhere.to_str().unwrap()), low]);
    example.logs("Cannot see how much memory there is, so it is never low");
    assert_eq!(example.get("/counter").body, "1\n");
    assert_eq!(example.get("/counter").body, "2\n");
    example.stats_say("instances: 1 live, 0 ended to save memory");
}

#[test]
fn guard_lets_pass_who_has_the_token() {
    let example = Example::start("guard", &[("TOKEN", "open")]);
    assert_eq!(example.get("/").body, "open to all\n");

    let ask = |method: &str, path: &str, headers: &str| {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
        Answer::read(example.send_raw(&request))
    };
    let refused = ask("GET", "/admin", "authorization: Bearer sesame\r\nx-user: root\r\n");
    assert_eq!((refused.status, &*refused.body), (401, "not without the token\n"));
    assert!(refused.head.contains("\r\nwww-authenticate: bearer"), "{refused:?}");
    let allowed = ask("GET", "/admin", "authorization: Bearer open\r\nx-user: root\r\n");
    assert_eq!((allowed.status, &*allowed.body), (200, "hello, friend\n"));

    // One guest had both, and only those.
    example.stats_say("requests: 0 busy, 0 pinned, 2 responded, 0 failed\n");
    example.stats_say("guests: 1 idle, 0 pinned, 1 started\n");

    assert_eq!(ask("POST", "/admin/reload", "").status, 401);
    let reload = ask("POST", "/admin/reload", "authorization: Bearer open\r\n");
    assert_eq!(reload.body, "reloaded\n");
    assert_eq!(ask("GET", "/admin", "authorization: Bearer open\r\n").status, 200);
    example.stats_say("guests: 1 idle, 0 pinned, 2 started\n");
}

#[test]
fn guard_does_not_start_without_a_token() {
    let mut example = Command::new(Example::binary("guard"));
    let output = example.env("TOKEN", "").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("does not start"), "{error}");
}

#[test]
fn middleware_lets_in_up_to_the_rate() {
    let example = Example::start("middleware", &[("RATE", "3"), ("PERIOD_MS", "3600000")]);
    for count in 1..=3 {
        assert_eq!(example.get("/counter").body, format!("{count}\n"));
    }
    example.get("/counter").is_error(503, "overloaded\n");
    // The refused one came nowhere near the pool.
    example.stats_say("requests: 3 submitted, 0 running");
}

#[test]
fn middleware_lets_in_more_after_the_period() {
    let example = Example::start("middleware", &[("RATE", "1"), ("PERIOD_MS", "500")]);
    for _ in 0..3 {
        let began = Instant::now();
        while example.get("/counter").status != 200 {
            assert!(began.elapsed() < LIMIT);
        }
    }
    example.stats_say("requests: 3 submitted, 0 running");
}

#[test]
fn middleware_counts_only_what_it_lets_in() {
    let settings =
        [("CONCURRENCY", "2"), ("RATE", "3"), ("PERIOD_MS", "3600000"), ("TIMEOUT_MS", "3600000")];
    let example = Example::start("middleware", &settings);
    let slow = [example.send("/slow?ms=60000"), example.send("/slow?ms=60000")];
    example.stats_say("requests: 2 submitted, 2 running");
    for _ in 0..10 {
        example.get("/counter").is_error(503, "overloaded\n");
    }
    // Their places are free when their clients have left; that the server has to notice first.
    drop(slow);
    let began = Instant::now();
    while example.get("/counter").status != 200 {
        assert!(began.elapsed() < LIMIT);
    }
    // The rate was 3, and none of the refused ones counted. Now it is used up.
    example.get("/counter").is_error(503, "overloaded\n");
    example.stats_say("requests: 3 submitted");
}

#[test]
fn middleware_sheds_load_for_a_full_pool() {
    let settings = [("INSTANCES", "1"), ("CONCURRENCY", "1000"), ("TIMEOUT_MS", "3600000")];
    let example = Example::start("middleware", &[&settings[..], &[("RATE", "1000")]].concat());
    let slow: Vec<_> = (0..16).map(|_| example.send("/slow?ms=60000")).collect();
    example.stats_say("requests: 16 submitted, 16 running");
    example.get("/counter").is_error(503, "overloaded\n");
    drop(slow);
}

#[test]
fn middleware_gives_up_after_the_timeout() {
    let example = Example::start("middleware", &[("TIMEOUT_MS", "100")]);
    example.get("/slow?ms=60000").is_error(504, "request timeout\n");
}

#[test]
fn middleware_passes_on_what_the_pool_says() {
    let example = Example::start("middleware", &[]);
    let no_host = example.send_raw("GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
    Answer::read(no_host).is_error(400, "bad request\n");
}

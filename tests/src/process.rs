//! The binary `millpond`, serving a test guest.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::{Client, PATIENCE, Protocol, guest, millpond, until};
use millpond::HttpVersion;

/// A serving process, killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its stdout, until it is read.
    unread: Option<ChildStdout>,
    /// Its stderr, likewise.
    unread_stderr: Option<ChildStderr>,
    stdout: Lines,
    stderr: Lines,
}

/// What came so far, line by line.
type Lines = Arc<Mutex<Vec<String>>>;

impl Process {
    /// `millpond serve GUEST ARGS`. Both of its outputs are read.
    pub async fn start(version: HttpVersion, args: &[&str]) -> Self {
        let mut process = Self::start_unread(version, args).await;
        process.read_stdout();
        process
    }

    /// The same, but its stdout is not read.
    pub async fn start_unread(version: HttpVersion, args: &[&str]) -> Self {
        let guest = guest(version).to_str().expect("a path that is text");
        Self::serve_unread(&[&[guest], args].concat()).await
    }

    /// `millpond serve ARGS`, whatever these say is served.
    pub async fn serve(args: &[&str]) -> Self {
        let mut process = Self::serve_unread(args).await;
        process.read_stdout();
        process
    }

    /// The same, and the process may have so many descriptors.
    pub async fn limited(descriptors: usize, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {descriptors}; exec \"$@\""), "sh"])
            .arg(millpond());
        let mut process = Self::run(command, args).await;
        process.read_stdout();
        process
    }

    async fn serve_unread(args: &[&str]) -> Self {
        Self::run(Command::new(millpond()), args).await
    }

    async fn run(mut command: Command, args: &[&str]) -> Self {
        let mut child = command
            .arg("serve")
            .arg("--addr=127.0.0.1:0")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let unread = child.stdout.take();
        let stderr = Lines::default();
        read(child.stderr.take().unwrap(), &stderr);
        let mut process = Self {
            child,
            addr: "127.0.0.1:0".parse().unwrap(),
            unread,
            unread_stderr: None,
            stdout: Lines::default(),
            stderr,
        };
        process.addr = process.announced("Serving HTTP on http://").await;
        process
    }

    /// `millpond serve GUEST ARGS` with these for stdout and stderr, neither of which is read. Where it listens is known
    /// beforehand: on a port that was free.
    pub async fn start_unheard(
        version: HttpVersion,
        args: &[&str],
        stdout: Stdio,
        stderr: Stdio,
    ) -> Self {
        Self::start_unheard_at(free_addr(), version, args, stdout, stderr).await
    }

    /// The same, at this address.
    pub async fn start_unheard_at(
        addr: SocketAddr,
        version: HttpVersion,
        args: &[&str],
        stdout: Stdio,
        stderr: Stdio,
    ) -> Self {
        let mut child = Command::new(millpond())
            .arg("serve")
            .arg(guest(version))
            .arg(format!("--addr={addr}"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the binary runs");
        until("it listens", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("it ended early: {status}");
            }
            std::net::TcpStream::connect(addr).ok()
        })
        .await;
        let (unread, unread_stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = (Lines::default(), Lines::default());
        Self { child, addr, unread, unread_stderr, stdout, stderr }
    }

    /// Closes the reading end of stderr, which is not read.
    pub fn close_stderr(&mut self) {
        drop(self.unread_stderr.take().expect("it is not read"));
    }

    /// Begins to read stderr.
    pub fn read_stderr(&mut self) {
        read(self.unread_stderr.take().expect("it is not read yet"), &self.stderr);
    }

    /// The address that a line on stderr names.
    pub async fn announced(&mut self, prefix: &str) -> SocketAddr {
        until(&format!("it says {prefix:?}"), || {
            let stderr = self.stderr.lock().unwrap();
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("it ended early, {status}: {stderr:#?}");
            }
            let line = stderr.iter().find_map(|line| line.strip_prefix(prefix))?;
            Some(line.strip_suffix('/').expect("a URL").parse().expect("an address"))
        })
        .await
    }

    /// Opens a connection to it.
    pub async fn connect(&self, protocol: Protocol) -> Client {
        Client::connect(self.addr, protocol).await
    }

    /// One GET on a connection of its own, HTTP/1.1: status and text.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.addr, path).await
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the lines on stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Returns the lines on stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    /// Begins to read stdout.
    pub fn read_stdout(&mut self) {
        read(self.unread.take().expect("it is not read yet"), &self.stdout);
    }

    /// Waits for a line on stdout.
    pub async fn prints(&self, line: &str) {
        self.line_of(&self.stdout, line).await;
    }

    /// Waits for a line on stderr.
    pub async fn prints_error(&self, line: &str) {
        self.line_of(&self.stderr, line).await;
    }

    async fn line_of(&self, lines: &Lines, line: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !lines.lock().unwrap().iter().any(|other| other == line) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no {line:?}: {:#?}, {:#?}",
                self.stdout(),
                self.stderr()
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Waits until a line on stderr contains this.
    pub async fn logs(&self, text: &str) {
        until(&format!("it logs {text:?}"), || {
            self.stderr.lock().unwrap().iter().any(|line| line.contains(text)).then_some(())
        })
        .await;
    }

    /// Waits until `/metrics` has this line.
    pub async fn measures(&self, admin: SocketAddr, line: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (status, text) = get(admin, "/metrics").await;
            assert_eq!(status, 200);
            if text.lines().any(|other| other == line) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {line:?}: {text}");
        }
    }

    /// Reads a value of `/metrics`.
    pub async fn metric(&self, admin: SocketAddr, name: &str) -> u64 {
        let (_, text) = get(admin, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().expect("a whole number")
    }

    /// Waits until nothing is under way: no request, no connection, no byte.
    pub async fn comes_to_rest(&self, admin: SocketAddr) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let is_gauge = |line: &&str| {
            line.starts_with("millpond_requests{")
                || line.starts_with("millpond_connections ")
                || line.starts_with("millpond_response_bytes_queued ")
                || line.starts_with("millpond_permits{state=\"reserved\"}")
        };
        loop {
            let (_, text) = get(admin, "/metrics").await;
            let busy: Vec<_> =
                text.lines().filter(is_gauge).filter(|line| !line.ends_with(" 0")).collect();
            if busy.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "still busy: {busy:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Returns its resident memory in MiB.
    pub fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux, and a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib = line.trim().strip_suffix(" kB").expect("kB").parse::<u64>().expect("a number");
        kib / 1024
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let status = kill.args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end. `None`: a signal killed it.
    pub async fn exit_code(&mut self) -> Option<i32> {
        until("it exits", || self.child.try_wait().unwrap()).await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that was free a moment ago.
pub fn free_addr() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

fn read(from: impl Read + Send + 'static, to: &Lines) {
    let to = Arc::clone(to);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let text = String::from_utf8_lossy(&line);
            to.lock().unwrap().push(text.trim_end_matches('\n').to_owned());
            line.clear();
        }
    });
}

/// One GET, HTTP/1.1: status and text.
pub async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let reply = Client::connect(addr, Protocol::Http1).await.get(path).await;
    (reply.status.as_u16(), reply.text().to_owned())
}

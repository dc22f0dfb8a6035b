//! A server in a process of its own: started, waited for, and killed when it is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::probe;
use crate::Fallible;

const PATIENCE: Duration = Duration::from_secs(60);
/// What it said last, for the error message.
const REMEMBERED: usize = 5;

pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    began: Instant,
    said: Said,
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        if lines.len() == REMEMBERED {
            lines.remove(0);
        }
        lines.push(line);
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner()).join("\n")
    }
}

/// A line that says where something listens.
enum Listens {
    Server(SocketAddr),
    Admin(SocketAddr),
}

impl Server {
    /// Starts it, and waits until it says where it listens: `Serving HTTP on http://.../`, which all of
    /// them do.
    pub(crate) fn start(mut command: Command) -> Fallible<Self> {
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let said = Said::default();
        let (sender, listens) = mpsc::channel();
        let lines = said.clone();
        thread::spawn(move || listen(stderr, &sender, &lines));
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, addr: unknown, admin: None, began, said };
        loop {
            match listens.recv_timeout(PATIENCE) {
                Ok(Listens::Admin(addr)) => server.admin = Some(addr),
                Ok(Listens::Server(addr)) => {
                    server.addr = addr;
                    return Ok(server);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("{command:?} ended: {}", server.said.text()).into());
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("{command:?} does not listen").into());
                }
            }
        }
    }

    /// Waits for its first good answer; how long that took from the beginning.
    pub(crate) fn answers(&self, path: &str) -> Fallible<Duration> {
        loop {
            let failure = match probe::get(self.addr, path) {
                Ok((200, _)) => return Ok(self.began.elapsed()),
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => error.to_string(),
            };
            if self.began.elapsed() > PATIENCE || failure.starts_with('4') {
                return Err(format!("GET {path}: {failure}\n{}", self.said.text()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said last.
    pub(crate) fn said(&self) -> String {
        self.said.text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stderr: ChildStderr, sender: &mpsc::Sender<Listens>, said: &Said) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let listens = line.split_once(" on http://").and_then(|(what, addr)| {
            let addr = addr.trim_end_matches('/').parse().ok()?;
            match what {
                "Serving HTTP" => Some(Listens::Server(addr)),
                "Admin" => Some(Listens::Admin(addr)),
                _ => None,
            }
        });
        match listens {
            Some(listens) => drop(sender.send(listens)),
            None => said.add(line),
        }
    }
}

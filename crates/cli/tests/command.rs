//! The binary as an operator meets it: what it prints, how it exits.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

/// Runs `millpond` to its end.
fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millpond")).args(args).output().unwrap()
}

/// The exit code and the only line on stderr.
fn refusal(args: &[&str]) -> (i32, String) {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    (output.status.code().unwrap(), stderr.trim_end().to_owned())
}

/// A serving process, killed when dropped.
struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Serving {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(["serve", "--addr=127.0.0.1:0"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Reads up to the next line on stderr that names an address: it must be `prefix`, the address, and a slash.
    fn announced(&mut self, prefix: &str) -> SocketAddr {
        let mut line = String::new();
        while !line.contains("://") {
            line.clear();
            assert_ne!(
                self.stderr.read_line(&mut line).unwrap(),
                0,
                "it ended before it said {prefix:?}"
            );
        }
        let addr = line.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("/\n"));
        addr.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
    }

    /// Reads lines up to one that contains `text`.
    fn logged(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.stderr.read_line(&mut line).unwrap(),
                0,
                "it ended before it logged {text:?}"
            );
        }
    }

    fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn exit_code(&mut self) -> i32 {
        self.child.wait().unwrap().code().expect("it exits by itself")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request on a connection that stays open, and reads the head of the response.
fn get(addr: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (stream, String::from_utf8(head).unwrap())
}

#[test]
fn serves_and_drains_on_either_signal() {
    for name in ["TERM", "INT"] {
        let mut serving = Serving::start(&[]);
        let addr = serving.announced("Serving HTTP on http://");
        let (_idle, head) = get(addr);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        serving.signal(name);
        assert_eq!(serving.exit_code(), 0, "SIG{name}");
    }
}

#[test]
fn a_second_signal_exits_at_once() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let mut serving = Serving::start(&["--drain-delay=1h"]);
        let addr = serving.announced("Serving HTTP on http://");
        serving.signal("TERM");
        serving.logged("draining");
        // The delay is there so that late requests are still served.
        assert!(get(addr).1.starts_with("HTTP/1.1 200 OK\r\n"));
        serving.signal(name);
        assert_eq!(serving.exit_code(), code, "SIG{name}");
    }
}

#[test]
fn connecting_to_the_shutdown_addr_drains() {
    let mut serving = Serving::start(&["--shutdown-addr=127.0.0.1:0"]);
    let shutdown = serving.announced("Listening for shutdown on tcp://");
    serving.announced("Serving HTTP on http://");
    TcpStream::connect(shutdown).unwrap();
    assert_eq!(serving.exit_code(), 0);
}

#[test]
fn a_port_in_use_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, line) = refusal(&["serve", "--addr", &addr]);
    assert_eq!(code, 1);
    assert!(
        line.starts_with(&format!("error: cannot listen on {addr}: the address is in use")),
        "{line}"
    );
}

#[test]
fn what_makes_no_sense_exits_with_two() {
    let (code, line) = refusal(&["serve", "--log=millpond=loud"]);
    assert_eq!(code, 2);
    assert!(line.starts_with("error: --log 'millpond=loud': "), "{line}");

    let (code, line) = refusal(&["serve", "--request-timeout=1s", "-Wtimeout=2s"]);
    assert_eq!(code, 2);
    assert!(line.starts_with("error: --request-timeout and -W timeout mean the same"), "{line}");

    let output = run(&["serve", "--max-instances=0"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_exits_with_zero() {
    let output = run(&["serve", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "--addr",
        "--upstream",
        "--middleware <MODULE>",
        "--middleware-config <FILE>",
        "--max-middleware-instances",
        "--queue-timeout",
        "--allow-outbound",
        "-S, --wasi",
        "-W, --wasm",
        "-C, --codegen",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}

#[test]
fn short_help_fits_two_screens() {
    let output = run(&["serve", "-h"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("see more with '--help'"), "{help}");
    assert!(help.lines().count() <= 2 * 30, "{} lines:\n{help}", help.lines().count());
    let longest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(longest.chars().count() <= 100, "{longest}");
}

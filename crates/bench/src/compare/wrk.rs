//! A closed loop: so many connections, each sends its next request when it has an answer. wrk does it,
//! which takes little of the processors that it shares with the server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Fallible;

/// wrk's own report is for reading; this one is for us.
const REPORT: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("\nmillpond-bench %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"#;

pub(super) struct Load<'a> {
    pub(super) addr: SocketAddr,
    pub(super) path: &'a str,
    pub(super) connections: usize,
    /// Bytes to send with each request.
    pub(super) upload: usize,
    pub(super) seconds: f64,
    /// Where a script may be written.
    pub(super) scratch: &'a Path,
}

pub(super) struct Outcome {
    pub(super) requests: f64,
    pub(super) seconds: f64,
    /// Milliseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

/// That wrk is there.
pub(super) fn check() -> Fallible<()> {
    match Command::new("wrk").arg("-v").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("no wrk ({error}); on Debian: apt-get install wrk").into()),
    }
}

/// The version, as wrk says it.
pub(super) fn version() -> String {
    let output = Command::new("wrk").arg("-v").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().split(" [").next().unwrap_or_default().trim().to_owned()
}

pub(super) fn run(load: &Load<'_>) -> Fallible<Outcome> {
    let script = load.scratch.join("wrk.lua");
    let upload = match load.upload {
        0 => String::new(),
        bytes => format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {bytes})\n"),
    };
    fs::write(&script, upload + REPORT)?;
    // wrk takes whole seconds.
    let seconds = Duration::from_secs_f64(load.seconds).as_secs().max(1);
    let output = Command::new("wrk")
        .arg("-t1")
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{seconds}s"))
        .args(["--timeout", "10s", "-s"])
        .arg(&script)
        .arg(format!("http://{}{}", load.addr, load.path))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("millpond-bench "));
    let line =
        line.ok_or_else(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
    let [requests, micros, broken, status, p50, p99, p999] = numbers?[..] else {
        return Err(format!("wrk reports {line}").into());
    };
    if broken > 0.0 || status > 0.0 || requests == 0.0 {
        let path = load.path;
        return Err(format!(
            "{path}: of {requests} requests {status} were not answered 2xx and {broken} failed"
        )
        .into());
    }
    let millis = |micros: f64| micros / 1000.0;
    let (p50, p99, p999) = (millis(p50), millis(p99), millis(p999));
    Ok(Outcome { requests, seconds: micros / 1e6, p50, p99, p999 })
}

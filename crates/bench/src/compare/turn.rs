//! One server, started, warmed up, put under one load, and ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::instances::Instances;
use super::peer::{Peer, Programs};
use super::reading::{Metric, Reading};
use super::server::Server;
use super::workload::{Load, Open, Workload};
use super::{process, wrk};
use crate::Fallible;

/// Of the time that is measured, what the warm-up takes.
const WARM_UP: f64 = 0.3;

pub(super) struct Turn<'a> {
    pub(super) programs: &'a Programs,
    pub(super) workload: &'a Workload,
    pub(super) peer: Peer,
    pub(super) seconds: f64,
    pub(super) scratch: &'a Path,
}

impl Turn<'_> {
    pub(super) fn take(&self) -> Fallible<Reading> {
        if matches!(self.workload.load, Load::Start) {
            // Where there is a cache, what is measured finds it filled.
            self.start()?;
        }
        let (server, first) = self.start()?;
        let reading = match self.workload.load {
            Load::Start => Ok(Reading::from([
                (Metric::FirstAnswer, first.as_secs_f64() * 1000.0),
                (Metric::PeakMemory, process::memory(server.pid())?.peak),
            ])),
            Load::Overload { connections } => self.overload(&server, connections),
            _ => self.steady(&server),
        };
        reading.map_err(|error| {
            format!("{}, {}: {error}\n{}", self.workload.name, self.peer, server.said()).into()
        })
    }

    /// A server, and how long it took to its first answer.
    fn start(&self) -> Fallible<(Server, Duration)> {
        let server = Server::start(self.programs.command(self.peer, self.workload)?)?;
        let first = server.answers(&self.workload.path.replace("{}", "0"))?;
        Ok((server, first))
    }

    fn steady(&self, server: &Server) -> Fallible<Reading> {
        self.load(server, self.seconds * WARM_UP, &mut || Ok(()))?;
        let instances = Instances::watch(server.admin);
        let mut before = Duration::ZERO;
        let mut outcome = self.load(server, self.seconds, &mut || {
            process::reset_peak(server.pid())?;
            before = process::cpu(server.pid())?;
            Ok(())
        })?;
        let cpu = process::cpu(server.pid())?.saturating_sub(before);
        let memory = process::memory(server.pid())?;
        let reading = &mut outcome.reading;
        reading.insert(Metric::Cpu, cpu.as_secs_f64() * 1e6 / outcome.answered);
        reading.insert(Metric::PeakMemory, memory.peak);
        reading.insert(Metric::Memory, memory.now);
        reading.extend(instances.mean().map(|mean| (Metric::Instances, mean)));
        Ok(outcome.reading)
    }

    /// Puts the workload's load on it. `begins` is called when all connections that are only held are open.
    fn load(
        &self,
        server: &Server,
        seconds: f64,
        begins: &mut dyn FnMut() -> Fallible<()>,
    ) -> Fallible<Outcome> {
        match self.workload.load {
            Load::Closed { connections, upload, download } => {
                begins()?;
                self.closed(server, seconds, (connections, upload), upload + download)
            }
            Load::Open(Open { rate, connections, rare, idle, fan }) => {
                let mut flags = Vec::new();
                if let Some(rare) = rare {
                    flags.extend(["--rare".to_owned(), rare.to_owned()]);
                }
                flags.extend(["--idle".to_owned(), idle.to_string()]);
                flags.extend(["--fan".to_owned(), fan.to_string()]);
                let seen = self.open(server, (rate, connections, seconds), &flags, begins)?;
                let failed = number(&seen, "/failed")? + number(&seen, "/refused")?;
                if failed > 0.0 || seen["in_time"] != true {
                    return Err(format!("a rate of {rate} is too much for it: {seen}").into());
                }
                let answered = number(&seen, "/answered")?;
                let mut reading = latencies(&seen)?;
                let before_end = number(&seen, "/answered_before_the_end")?;
                reading.insert(Metric::Rate, before_end / seconds);
                reading.insert(Metric::Held, number(&seen, "/held")?);
                Ok(Outcome { answered, reading })
            }
            Load::Overload { .. } | Load::Start => Err("no steady load".into()),
        }
    }

    fn closed(
        &self,
        server: &Server,
        seconds: f64,
        (connections, upload): (usize, usize),
        bodies: usize,
    ) -> Fallible<Outcome> {
        let (addr, path, scratch) = (server.addr, self.workload.path, self.scratch);
        let seen = wrk::run(&wrk::Load { addr, path, connections, upload, seconds, scratch })?;
        let rate = seen.requests / seen.seconds;
        let mut reading = Reading::from([
            (Metric::Rate, rate),
            (Metric::P50, seen.p50),
            (Metric::P99, seen.p99),
            (Metric::P999, seen.p999),
        ]);
        if bodies > 0 {
            reading.insert(Metric::Mebibytes, rate * bodies as f64 / (1 << 20) as f64);
        }
        Ok(Outcome { answered: seen.requests, reading })
    }

    fn overload(&self, server: &Server, connections: usize) -> Fallible<Reading> {
        self.closed(server, self.seconds * WARM_UP, (connections, 0), 0)?;
        process::reset_peak(server.pid())?;
        let capacity = self.closed(server, self.seconds, (connections, 0), 0)?;
        let capacity = capacity.reading[&Metric::Rate];
        let flags = ["--cut".to_owned()];
        let seen =
            self.open(server, (capacity * 2.0, 512, self.seconds), &flags, &mut || Ok(()))?;
        if number(&seen, "/failed")? > 0.0 {
            return Err(format!("it does not refuse, it fails: {seen}").into());
        }
        let goodput = number(&seen, "/answered_before_the_end")? / self.seconds;
        let mut reading = latencies(&seen)?;
        reading.extend([
            (Metric::Rate, capacity),
            (Metric::Goodput, goodput),
            (Metric::Kept, goodput / capacity),
            (Metric::Refused, number(&seen, "/refused")? / self.seconds),
            (Metric::Refusal, number(&seen, "/refusals/p99")?),
            (Metric::PeakMemory, process::memory(server.pid())?.peak),
        ]);
        Ok(reading)
    }

    fn open(
        &self,
        server: &Server,
        (rate, connections, seconds): (f64, usize, f64),
        flags: &[String],
        begins: &mut dyn FnMut() -> Fallible<()>,
    ) -> Fallible<Value> {
        let mut load = Command::new(&self.programs.bench)
            .args(["load", "--wait", "--addr", &server.addr.to_string()])
            .args(["--path", self.workload.path, "--connections", &connections.to_string()])
            .args(["--rate", &rate.to_string(), "--seconds", &seconds.to_string()])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(load.stdout.take().ok_or("no stdout")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line == "ready\n" {
            begins()?;
            load.stdin.take().ok_or("no stdin")?.write_all(b"\n")?;
            line.clear();
            output.read_line(&mut line)?;
        }
        if !load.wait()?.success() {
            return Err("the load failed".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

struct Outcome {
    answered: f64,
    reading: Reading,
}

fn latencies(seen: &Value) -> Fallible<Reading> {
    Ok(Reading::from([
        (Metric::P50, number(seen, "/usual/p50")?),
        (Metric::P99, number(seen, "/usual/p99")?),
        (Metric::P999, number(seen, "/usual/p999")?),
    ]))
}

fn number(seen: &Value, pointer: &str) -> Fallible<f64> {
    let number = seen.pointer(pointer).and_then(Value::as_f64);
    number.ok_or_else(|| format!("no {pointer} in {seen}").into())
}

//! The servers that are compared, and how each is told what it is to serve.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;
use millpond::HttpVersion;

use super::workload::{Reuse, Workload};
use crate::Fallible;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Peer {
    /// `millpond serve`
    Millpond,
    /// wasmtime's `ProxyHandler` behind axum
    ProxyHandler,
    /// Axum with handlers in Rust
    Axum,
    /// `wasmtime serve`
    Wasmtime,
}

impl Peer {
    pub(super) const ALL: [Self; 4] =
        [Self::Millpond, Self::ProxyHandler, Self::Axum, Self::Wasmtime];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Millpond => "millpond",
            Self::ProxyHandler => "proxy-handler",
            Self::Axum => "axum",
            Self::Wasmtime => "wasmtime",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the programs are.
pub(super) struct Programs {
    pub(super) millpond: PathBuf,
    pub(super) wasmtime: Option<PathBuf>,
    pub(super) bench: PathBuf,
}

impl Programs {
    /// `millpond` is beside this program.
    pub(super) fn find(wasmtime: Option<PathBuf>) -> Fallible<Self> {
        let bench = std::env::current_exe()?;
        let millpond = bench.with_file_name("millpond");
        if !millpond.is_file() {
            let how = "cargo build --release -p millpond-cli";
            return Err(format!("no {}: run `{how}` first", millpond.display()).into());
        }
        if let Some(path) = wasmtime.as_ref().filter(|path| !path.is_file()) {
            return Err(format!("--wasmtime: no {}", path.display()).into());
        }
        Ok(Self { millpond, wasmtime, bench })
    }

    /// Whether it is there to be measured.
    pub(super) fn has(&self, peer: Peer) -> bool {
        peer != Peer::Wasmtime || self.wasmtime.is_some()
    }

    /// What starts this peer for a workload. On any free port.
    pub(super) fn command(&self, peer: Peer, workload: &Workload) -> Fallible<Command> {
        let mut command = match peer {
            _ if workload.fan() > 1 => Command::new(&self.bench),
            Peer::Millpond => Command::new(&self.millpond),
            Peer::Wasmtime => {
                Command::new(self.wasmtime.as_ref().ok_or("--wasmtime PATH is missing")?)
            }
            Peer::ProxyHandler | Peer::Axum => Command::new(&self.bench),
        };
        command.args(self.arguments(peer, workload));
        // With them each error that wasmtime makes, also of what goes well, costs a walk of the stack.
        command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
        Ok(command)
    }

    fn arguments(&self, peer: Peer, workload: &Workload) -> Vec<String> {
        let component = workload.guest.path().display().to_string();
        if workload.fan() > 1 {
            let on = format!(
                "peer many --addr 127.0.0.1:0 --admin 127.0.0.1:0 --count {}",
                workload.fan()
            );
            let proxy_handler = (peer == Peer::ProxyHandler).then(|| "--proxy-handler".to_owned());
            let component = ["--component".to_owned(), component];
            let on = on.split(' ').map(str::to_owned);
            return on.chain(component).chain(proxy_handler).collect();
        }
        let mut arguments: Vec<&str> = match peer {
            Peer::Millpond => vec!["serve", "--addr", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
            Peer::Wasmtime => vec!["serve", "--addr", "127.0.0.1:0", "-Scli"],
            Peer::Axum => vec!["peer", "axum", "--addr", "127.0.0.1:0"],
            Peer::ProxyHandler => {
                let on = ["--addr", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--component"];
                [&["peer", "proxy-handler"], &on[..], &[&component]].concat()
            }
        };
        match peer {
            Peer::Millpond => arguments.extend(workload.millpond),
            Peer::Wasmtime => arguments.extend(workload.wasmtime),
            Peer::ProxyHandler | Peer::Axum => {}
        }
        if peer == Peer::Wasmtime && workload.guest.version() == HttpVersion::P3 {
            arguments.extend(["-Sp3", "-Wcomponent-model-async"]);
        }
        let count = match workload.reuse {
            Reuse::Fresh => Some("1"),
            Reuse::Reused => Some("1000000"),
            Reuse::Default => None,
        };
        if let Some(count) = count.filter(|_| peer != Peer::Axum) {
            let own = peer == Peer::ProxyHandler;
            arguments.extend([if own { "--reuse" } else { "--max-instance-reuse-count" }, count]);
        }
        if matches!(peer, Peer::Millpond | Peer::Wasmtime) {
            arguments.push(&component);
        }
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// The command as one would type it.
    pub(super) fn typed(&self, peer: Peer, workload: &Workload) -> String {
        let program = match peer {
            Peer::Millpond if workload.fan() == 1 => "millpond",
            Peer::Wasmtime => "wasmtime",
            _ => "millpond-bench",
        };
        let component = workload.guest.path().display().to_string();
        let arguments = self.arguments(peer, workload).join(" ");
        format!("{program} {}", arguments.replace(&component, workload.guest.name()))
    }
}

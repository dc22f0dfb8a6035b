//! What is measured: which guest, how its instances are used, and what load is put on them. Each is a
//! value in a list; nothing else knows of a particular one but the targets.

use std::path::Path;

use millpond::HttpVersion;

use super::peer::Peer;
use super::reading::Metric;

pub(super) struct Workload {
    /// Those with the same are run together, in turn within each round.
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) guest: Guest,
    pub(super) reuse: Reuse,
    pub(super) path: &'static str,
    pub(super) load: Load,
    pub(super) peers: &'static [Peer],
    /// Further flags.
    pub(super) millpond: &'static [&'static str],
    pub(super) wasmtime: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    /// 0.2 and 0.3, as small as they can be.
    HelloP2,
    HelloP3,
    /// Those of the tests, which do what they are asked for.
    P2,
    P3,
    /// 0.2, with much code.
    Large,
}

impl Guest {
    pub(super) const ALL: [Self; 5] =
        [Self::HelloP2, Self::HelloP3, Self::P2, Self::P3, Self::Large];

    pub(crate) fn path(self) -> &'static Path {
        match self {
            Self::HelloP2 => Path::new(env!("GUEST_HELLO_P2")),
            Self::HelloP3 => Path::new(env!("GUEST_HELLO_P3")),
            Self::P2 => millpond_tests::guest(HttpVersion::P2),
            Self::P3 => millpond_tests::guest(HttpVersion::P3),
            Self::Large => Path::new(env!("GUEST_LARGE")),
        }
    }

    pub(crate) fn version(self) -> HttpVersion {
        match self {
            Self::HelloP2 | Self::P2 | Self::Large => HttpVersion::P2,
            Self::HelloP3 | Self::P3 => HttpVersion::P3,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HelloP2 => "hello-p2.wasm",
            Self::HelloP3 => "hello-p3.wasm",
            Self::P2 => "p2.wasm",
            Self::P3 => "p3.wasm",
            Self::Large => "large.wasm",
        }
    }
}

/// How many requests an instance gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// One.
    Fresh,
    /// As many as come; a 0.3 instance as many at a time as is the server's default.
    Reused,
    /// What each server does unless told otherwise.
    Default,
}

#[derive(Clone, Copy)]
pub(super) enum Load {
    /// Each connection sends its next request when it has its answer.
    Closed { connections: usize, upload: usize, download: usize },
    /// So many requests a second, come what may.
    Open(Open),
    /// First how much the server can do, with as many connections as fill its queue half; then twice that.
    Overload { connections: usize },
    /// From the start of the process to its first answer.
    Start,
}

#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) rate: f64,
    pub(super) connections: usize,
    /// What one in a hundred asks for.
    pub(super) rare: Option<&'static str>,
    /// Further connections, which are only held.
    pub(super) idle: usize,
    /// Components, each with as many of the requests.
    pub(super) fan: usize,
}

impl Workload {
    /// How many components are served.
    pub(super) fn fan(&self) -> usize {
        if let Load::Open(open) = self.load { open.fan } else { 1 }
    }

    pub(super) fn uploads(&self) -> bool {
        matches!(self.load, Load::Closed { upload: 1.., .. })
    }

    /// The columns of its table.
    pub(super) fn metrics(&self) -> &'static [Metric] {
        use Metric::{
            Cpu, FirstAnswer, Goodput, Held, Instances, Kept, Mebibytes, Memory, P50, P99, P999,
            PeakMemory, Rate, Refusal, Refused,
        };
        match self.load {
            Load::Closed { upload: 0, download: 0, .. } => {
                &[Rate, Cpu, P50, P99, P999, PeakMemory, Memory, Instances]
            }
            Load::Closed { .. } => {
                &[Rate, Mebibytes, Cpu, P50, P99, P999, PeakMemory, Memory, Instances]
            }
            Load::Open(Open { idle: 0, .. }) => {
                &[Rate, Cpu, P50, P99, P999, PeakMemory, Memory, Instances]
            }
            Load::Open(_) => &[Rate, Cpu, P50, P99, P999, PeakMemory, Memory, Held],
            Load::Overload { .. } => &[Rate, Goodput, Kept, Refused, Refusal, P50, P99, PeakMemory],
            Load::Start => &[FirstAnswer, PeakMemory],
        }
    }
}

const ALL: &[Peer] = &Peer::ALL;
const GUESTS: &[Peer] = &[Peer::Millpond, Peer::ProxyHandler, Peer::Wasmtime];
const EMBEDDED: &[Peer] = &[Peer::Millpond, Peer::ProxyHandler];
const PROGRAMS: &[Peer] = &[Peer::Millpond, Peer::Wasmtime];

const CLOSED: Load = Load::Closed { connections: 32, upload: 0, download: 0 };
const PAGES: Load = Load::Closed { connections: 32, upload: 0, download: 64 << 10 };
const UPLOADS: Load = Load::Closed { connections: 4, upload: 8 << 20, download: 0 };
const STEADY: Open = Open { rate: 1000.0, connections: 512, rare: None, idle: 0, fan: 1 };
const IO: Load = Load::Open(STEADY);
const MIXED: Load =
    Load::Open(Open { rate: 500.0, connections: 128, rare: Some("/spin?ms=50"), ..STEADY });
const IDLE: Load = Load::Open(Open { rate: 200.0, connections: 32, idle: 9_900, ..STEADY });
const MANY: Load = Load::Open(Open { rate: 400.0, connections: 128, fan: 200, ..STEADY });

const fn workload(
    (group, name): (&'static str, &'static str),
    title: &'static str,
    (guest, reuse): (Guest, Reuse),
    (path, load): (&'static str, Load),
    peers: &'static [Peer],
) -> Workload {
    Workload { group, name, title, guest, reuse, path, load, peers, millpond: &[], wasmtime: &[] }
}

pub(super) static WORKLOADS: &[Workload] = &{
    use Guest::{HelloP2, HelloP3, Large, P2, P3};
    use Reuse::{Default, Fresh, Reused};
    [
        workload(
            ("hello", "hello-fresh-p2"),
            "Hello, 0.2, a fresh instance for each request; 32 connections",
            (HelloP2, Fresh),
            ("/hello", CLOSED),
            GUESTS,
        ),
        workload(
            ("hello", "hello-reused-p2"),
            "Hello, 0.2, instances reused; 32 connections",
            (HelloP2, Reused),
            ("/hello", CLOSED),
            ALL,
        ),
        workload(
            ("hello", "hello-fresh-p3"),
            "Hello, 0.3, a fresh instance for each request; 32 connections",
            (HelloP3, Fresh),
            ("/hello", CLOSED),
            GUESTS,
        ),
        workload(
            ("hello", "hello-reused-p3"),
            "Hello, 0.3, instances reused, several requests at a time; 32 connections",
            (HelloP3, Reused),
            ("/hello", CLOSED),
            ALL,
        ),
        workload(
            ("one", "one-p2"),
            "Hello, 0.2, instances reused; one connection",
            (HelloP2, Reused),
            ("/hello", Load::Closed { connections: 1, upload: 0, download: 0 }),
            ALL,
        ),
        workload(
            ("one", "one-p3"),
            "Hello, 0.3, instances reused; one connection",
            (HelloP3, Reused),
            ("/hello", Load::Closed { connections: 1, upload: 0, download: 0 }),
            ALL,
        ),
        workload(
            ("bodies", "pages-p2"),
            "Responses of 64 KiB, 0.2, instances reused; 32 connections",
            (P2, Reused),
            ("/fill?n=65536", PAGES),
            ALL,
        ),
        workload(
            ("bodies", "pages-p3"),
            "Responses of 64 KiB, 0.3, instances reused; 32 connections",
            (P3, Reused),
            ("/fill?n=65536", PAGES),
            ALL,
        ),
        workload(
            ("bodies", "uploads-p2"),
            "Uploads of 8 MiB, 0.2, instances reused; 4 connections",
            (P2, Reused),
            ("/drain", UPLOADS),
            ALL,
        ),
        workload(
            ("bodies", "uploads-p3"),
            "Uploads of 8 MiB, 0.3, instances reused; 4 connections",
            (P3, Reused),
            ("/drain", UPLOADS),
            ALL,
        ),
        workload(
            ("mixed", "mixed-p3"),
            "Hello, 0.3, 500 requests a second, of which 1 % compute for 50 ms (latency: that of the others)",
            (P3, Default),
            ("/hello", MIXED),
            GUESTS,
        ),
        workload(
            ("mixed", "mixed-p2"),
            "Hello, 0.2, 500 requests a second, of which 1 % compute for 50 ms (latency: that of the others)",
            (P2, Default),
            ("/hello", MIXED),
            GUESTS,
        ),
        workload(
            ("io", "io-reused-p3"),
            "40 ms of waiting, 0.3, instances reused, 16 requests at a time; 1000 requests a second",
            (P3, Reused),
            ("/sleep?ms=40", IO),
            GUESTS,
        ),
        workload(
            ("io", "io-fresh-p3"),
            "40 ms of waiting, 0.3, a fresh instance for each request; 1000 requests a second",
            (P3, Fresh),
            ("/sleep?ms=40", IO),
            GUESTS,
        ),
        Workload {
            millpond: &["--max-instances", "16", "--queue", "64"],
            ..workload(
                ("overload", "overload-p2"),
                "Twice the capacity: 10 ms of waiting, 0.2, 16 instances that are reused, a queue of 64",
                (P2, Reused),
                ("/sleep?ms=10", Load::Overload { connections: 48 }),
                &[Peer::Millpond],
            )
        },
        Workload {
            millpond: &["-C", "cache=n"],
            wasmtime: &["-C", "cache=n"],
            ..workload(
                ("startup", "startup-cold"),
                "From the start to the first answer, nothing compiled before",
                (Large, Default),
                ("/hello", Load::Start),
                PROGRAMS,
            )
        },
        workload(
            ("startup", "startup-warm"),
            "From the start to the first answer, compiled code in the cache",
            (Large, Default),
            ("/hello", Load::Start),
            PROGRAMS,
        ),
        Workload {
            millpond: &["--max-concurrent-connections", "12000"],
            wasmtime: &["--max-concurrent-connections", "12000"],
            ..workload(
                ("idle", "idle-p3"),
                "9900 idle connections, and hello, 0.3, 200 requests a second beside them",
                (P3, Default),
                ("/hello", IDLE),
                ALL,
            )
        },
        workload(
            ("many", "many-p3"),
            "200 components in one process (`peer many`), 0.3, each 2 requests a second",
            (P3, Default),
            ("/n/{}/hello", MANY),
            EMBEDDED,
        ),
    ]
};

//! What Millpond is to reach, and what it has reached in a run: ratios, each with the floor that
//! has to be met and the aim beyond it.

use super::table::table;
use crate::compare::peer::Peer;
use crate::compare::reading::{Metric, Spread, short};
use crate::compare::records::{Records, Series};
use crate::compare::workload::WORKLOADS;

struct Target {
    what: &'static str,
    value: Value,
    wanted: Wanted,
    floor: f64,
    aim: f64,
}

enum Value {
    /// Ours by theirs: workload of each.
    Ratio(Metric, &'static str, Peer, &'static str),
    /// Ours alone.
    Own(Metric, &'static str),
}

#[derive(Clone, Copy)]
enum Wanted {
    AtLeast,
    AtMost,
}

const fn more(
    what: &'static str,
    metric: Metric,
    on: &'static str,
    floor: f64,
    aim: f64,
) -> Target {
    let value = Value::Ratio(metric, on, Peer::Wasmtime, on);
    Target { what, value, wanted: Wanted::AtLeast, floor, aim }
}

const fn less(
    what: &'static str,
    metric: Metric,
    on: &'static str,
    floor: f64,
    aim: f64,
) -> Target {
    let value = Value::Ratio(metric, on, Peer::Wasmtime, on);
    Target { what, value, wanted: Wanted::AtMost, floor, aim }
}

const TARGETS: &[Target] = &{
    use Metric::{
        Cpu, FirstAnswer, Instances, Kept, Mebibytes, P50, P99, PeakMemory, Rate, Refusal,
    };
    [
        more("fresh 0.2 hello, requests/s", Rate, "hello-fresh-p2", 5.5, 8.0),
        more("fresh 0.3 hello, requests/s", Rate, "hello-fresh-p3", 4.5, 7.0),
        more("reused 0.2 hello, requests/s", Rate, "hello-reused-p2", 1.5, 2.5),
        more("reused 0.3 hello, requests/s", Rate, "hello-reused-p3", 1.5, 2.5),
        Target {
            value: Value::Ratio(Cpu, "hello-fresh-p2", Peer::Wasmtime, "hello-reused-p2"),
            ..less("fresh 0.2 of ours by reused 0.2 of theirs, CPU/request", Cpu, "", 1.3, 1.0)
        },
        less("one connection, reused 0.2 hello, p50", P50, "one-p2", 1.0, 0.8),
        less("one connection, reused 0.3 hello, p50", P50, "one-p3", 1.0, 0.8),
        less("mixed, 0.3, p99 of the hellos", P99, "mixed-p3", 0.8, 0.3),
        less("mixed, 0.2, p99 of the hellos", P99, "mixed-p2", 0.8, 0.3),
        Target {
            value: Value::Ratio(Instances, "io-reused-p3", Peer::ProxyHandler, "io-reused-p3"),
            ..less("waiting, reused 0.3, instances (by ProxyHandler's)", Instances, "", 1.0, 0.5)
        },
        less("waiting, reused 0.3, peak memory", PeakMemory, "io-reused-p3", 1.0, 0.5),
        more("64 KiB responses, 0.2, MiB/s", Mebibytes, "pages-p2", 1.2, 2.0),
        more("64 KiB responses, 0.3, MiB/s", Mebibytes, "pages-p3", 1.2, 2.0),
        more("8 MiB uploads, 0.2, MiB/s", Mebibytes, "uploads-p2", 1.2, 2.0),
        more("8 MiB uploads, 0.3, MiB/s", Mebibytes, "uploads-p3", 1.2, 2.0),
        Target {
            value: Value::Ratio(Rate, "hello-reused-p2", Peer::Axum, "hello-reused-p2"),
            ..more("reused 0.2 hello by bare axum, requests/s", Rate, "", 0.55, 0.8)
        },
        Target {
            value: Value::Own(Kept, "overload-p2"),
            ..more("goodput at twice the capacity by that at capacity", Kept, "", 0.95, 1.0)
        },
        Target {
            value: Value::Own(Refusal, "overload-p2"),
            ..less("refusals at twice the capacity, p99 in ms", Refusal, "", 5.0, 5.0)
        },
        Target {
            value: Value::Own(FirstAnswer, "startup-warm"),
            ..less("first answer after a start, cache warm, in ms", FirstAnswer, "", 150.0, 150.0)
        },
    ]
};

impl Target {
    fn measured(&self, records: &Records) -> Option<Spread> {
        match self.value {
            Value::Ratio(metric, ours, peer, theirs) => records.ratio(
                Series { workload: ours, peer: Peer::Millpond, metric },
                Series { workload: theirs, peer, metric },
            ),
            Value::Own(metric, workload) => {
                records.spread(Series { workload, peer: Peer::Millpond, metric })
            }
        }
    }

    /// What bare axum reaches on the same load: no server with a guest in it gets beyond that.
    fn without_guest(&self, records: &Records) -> Option<Spread> {
        let Value::Ratio(metric, ours, peer, theirs) = self.value else { return None };
        if peer == Peer::Axum {
            return None;
        }
        let group = WORKLOADS.iter().find(|workload| workload.name == ours)?.group;
        let all = WORKLOADS.iter().filter(|workload| workload.group == group);
        let names = std::iter::once(ours).chain(all.map(|workload| workload.name));
        let axum = names.filter(|name| records.has_of(name, Peer::Axum)).find_map(|workload| {
            let series = Series { workload, peer: Peer::Axum, metric };
            records.spread(series).map(|_| series)
        })?;
        records.ratio(axum, Series { workload: theirs, peer, metric })
    }

    fn verdict(&self, median: f64) -> &'static str {
        let reaches = |bound| match self.wanted {
            Wanted::AtLeast => median >= bound,
            Wanted::AtMost => median <= bound,
        };
        match (reaches(self.aim), reaches(self.floor)) {
            (true, _) => "aim met",
            (false, true) => "floor met",
            (false, false) => "missed",
        }
    }
}

/// A row for each target; what was not measured says so. Beside it what a server without any guest reaches,
/// where one is measured on that load.
pub(in crate::compare) fn targets(records: &Records) -> String {
    let heads = ["", "measured", "floor", "aim", "", "bare axum"].map(str::to_owned).to_vec();
    let rows = TARGETS.iter().map(|target| {
        let sign = match target.wanted {
            Wanted::AtLeast => "at least",
            Wanted::AtMost => "at most",
        };
        let measured = target.measured(records);
        let verdict = measured.map_or("not measured", |spread| target.verdict(spread.median));
        vec![
            target.what.to_owned(),
            measured.map_or("-".to_owned(), |spread| spread.to_string()),
            format!("{sign} {}", short(target.floor)),
            short(target.aim),
            verdict.to_owned(),
            target.without_guest(records).map_or("-".to_owned(), |spread| spread.to_string()),
        ]
    });
    table(&std::iter::once(heads).chain(rows).collect::<Vec<_>>())
}

//! Snapshots in Prometheus' text format. The labels are fixed sets: never ids, hosts or URIs.
//!
//! The component's pool has no label of its own; those of the middleware have one, `pool="middleware-1"` and so on.

use std::fmt::{self, Write as _};

use millpond::http_wasm::BufferBudget;
use millpond::{
    GuestIoUsage, Histogram, HostStream, MemoryAccount, RecordCounts, Snapshot, cut_output,
};

use crate::app::PoolMetrics;
use crate::listen::{Connections, Cut};
use crate::upstream::Usage;

/// All families, of all pools, of the upstream if there is one, and of the clients' connections.
pub(crate) fn metrics(
    pools: &[PoolMetrics],
    upstream: Option<Usage>,
    connections: Connections,
    memory: &MemoryAccount,
) -> String {
    let mut text = String::new();
    family(&mut text, pools, ("requests", "gauge", "Requests by where they are."), |pool| {
        let stages = [
            ("queued", pool.queued),
            ("starting", pool.starting),
            ("busy", pool.busy),
            ("pinned", pool.pinned),
            ("streaming", pool.streaming),
            ("abandoned", pool.abandoned),
        ];
        labelled("stage", stages.map(|(stage, count)| (stage, count as u64)))
    });
    family(&mut text, pools, ("instances", "gauge", "Live instances by status."), |pool| {
        let instances = &pool.instances;
        let statuses = [
            ("starting", instances.starting),
            ("busy", instances.busy),
            ("pinned", instances.pinned),
            ("streaming", instances.streaming),
            ("post_return", instances.post_return),
            ("idle", instances.idle),
            ("retiring", instances.retiring),
        ];
        labelled("status", statuses.map(|(status, count)| (status, count as u64)))
    });
    family(&mut text, pools, ("permits", "gauge", "Places for requests."), |pool| {
        let (free, reserved) = (pool.permits_free as u64, pool.permits_reserved as u64);
        labelled("state", [("free", free), ("reserved", reserved)])
    });
    family(&mut text, pools, ("requests_total", "counter", "Requests by outcome."), |pool| {
        let outcomes = [
            ("responded", pool.responded),
            ("failed", pool.failed),
            ("refused", pool.refused),
            ("cancelled", pool.cancelled),
            ("overloaded", pool.overloaded),
        ];
        labelled("outcome", outcomes)
    });
    let help = "Instances started; failed: or given up, as when the caller left.";
    family(&mut text, pools, ("starts_total", "counter", help), |pool| {
        let ok = pool.starts.saturating_sub(pool.failed_starts);
        labelled("result", [("ok", ok), ("failed", pool.failed_starts)])
    });
    family(
        &mut text,
        pools,
        ("retired_total", "counter", "Instances retired by reason."),
        |pool| {
            labelled("reason", pool.retired.iter().map(|(reason, count)| (reason.as_str(), count)))
        },
    );
    let help = "Instances made ahead that wait for their first request.";
    family(&mut text, pools, ("spares", "gauge", help), |pool| vec![(None, pool.spares as u64)]);
    let help = "1 while an instance is wanted and none can be had.";
    family(&mut text, pools, ("pressure", "gauge", help), |pool| {
        vec![(None, u64::from(pool.pressure))]
    });
    let help = "How long requests waited in the queue, of those that were handed over.";
    histogram(&mut text, pools, ("queue_wait", help), |pool| &pool.queue_wait);
    let help = "How long instances took to start.";
    histogram(&mut text, pools, ("start_time", help), |pool| &pool.start_time);
    let help = "How long requests ran, their bodies included.";
    histogram(&mut text, pools, ("run_time", help), |pool| &pool.run_time);
    lost(&mut text);
    let (used, limit, refused) = (memory.used(), memory.limit(), memory.refused());
    let _ = write!(
        text,
        "# HELP millpond_guest_memory_bytes Memory of all instances, and what is held for them.\n\
         # TYPE millpond_guest_memory_bytes gauge\n\
         millpond_guest_memory_bytes {used}\n\
         # HELP millpond_guest_memory_limit_bytes How much that may be.\n\
         # TYPE millpond_guest_memory_limit_bytes gauge\n\
         millpond_guest_memory_limit_bytes {limit}\n\
         # HELP millpond_guest_memory_refused_total Growth and starts that were refused because of it.\n\
         # TYPE millpond_guest_memory_refused_total counter\n\
         millpond_guest_memory_refused_total {refused}\n"
    );
    if let Some(Usage { queued, running, taken }) = upstream {
        let _ = write!(
            text,
            "# HELP millpond_upstream_requests Requests to the upstream by where they are.\n\
             # TYPE millpond_upstream_requests gauge\n\
             millpond_upstream_requests{{stage=\"queued\"}} {queued}\n\
             millpond_upstream_requests{{stage=\"running\"}} {running}\n\
             # HELP millpond_upstream_requests_total Requests that went to the upstream.\n\
             # TYPE millpond_upstream_requests_total counter\n\
             millpond_upstream_requests_total {taken}\n"
        );
    }
    of_connections(&mut text, &connections);
    text
}

/// What the process could not write, or would not.
fn lost(text: &mut String) {
    let streams = [
        ("stdout", HostStream::stdout().lost()),
        ("stderr", HostStream::stderr().lost()),
        ("guests", cut_output()),
    ];
    let of =
        "not written: the reader of a stream is slow or gone, or guests print more than they may.";
    for unit in ["lines", "bytes"] {
        let name = format!("millpond_output_lost_{unit}_total");
        let _ = writeln!(text, "# HELP {name} {unit} {of}\n# TYPE {name} counter");
        for (stream, lost) in &streams {
            let count = if unit == "lines" { lost.lines } else { lost.bytes };
            let _ = writeln!(text, "{name}{{stream=\"{stream}\"}} {count}");
        }
    }
    let RecordCounts { written, lost, .. } = RecordCounts::now();
    let name = "millpond_records_total";
    let _ = write!(
        text,
        "# HELP {name} Profiles and core dumps; lost: more than may be, or not taken by the disk.\n\
         # TYPE {name} counter\n{name}{{result=\"written\"}} {written}\n{name}{{result=\"lost\"}} {lost}\n"
    );
}

/// What is held of bodies for middleware.
pub(crate) fn buffers(text: &mut String, buffers: &BufferBudget) {
    let (used, limit, refused) = (buffers.used(), buffers.limit(), buffers.refused());
    let _ = write!(
        text,
        "# HELP millpond_middleware_buffer_bytes Bytes of bodies that are held for middleware.\n\
         # TYPE millpond_middleware_buffer_bytes gauge\n\
         millpond_middleware_buffer_bytes {used}\n\
         # HELP millpond_middleware_buffer_limit_bytes Bytes that may be held.\n\
         # TYPE millpond_middleware_buffer_limit_bytes gauge\n\
         millpond_middleware_buffer_limit_bytes {limit}\n\
         # HELP millpond_middleware_buffer_refused_total Pieces of bodies for which there was no room.\n\
         # TYPE millpond_middleware_buffer_refused_total counter\n\
         millpond_middleware_buffer_refused_total {refused}\n"
    );
}

fn of_connections(text: &mut String, connections: &Connections) {
    let Connections { open, queued, .. } = connections;
    let _ = write!(
        text,
        "# HELP millpond_connections Open connections of clients.\n\
         # TYPE millpond_connections gauge\n\
         millpond_connections {open}\n\
         # HELP millpond_response_bytes_queued Bytes of responses on their way to sockets.\n\
         # TYPE millpond_response_bytes_queued gauge\n\
         millpond_response_bytes_queued {queued}\n"
    );
    let families = [
        (
            "connections_ended_total",
            "Connections that were not left to their clients.",
            &[
                ("write_stalled", Cut::WriteStalled),
                ("slow_writes", Cut::SlowWrites),
                ("idle", Cut::Idle),
                ("flood", Cut::Flood),
            ][..],
        ),
        (
            "requests_cut_total",
            "Requests cut, as their client was too slow.",
            &[
                ("slow_request_body", Cut::SlowRequest),
                ("request_body_timeout", Cut::LongRequest),
                ("slow_response_body", Cut::SlowResponse),
            ],
        ),
    ];
    for (name, help, reasons) in families {
        let _ = writeln!(text, "# HELP millpond_{name} {help}\n# TYPE millpond_{name} counter");
        for (reason, cut) in reasons {
            let count = connections.cut(*cut);
            let _ = writeln!(text, "millpond_{name}{{reason=\"{reason}\"}} {count}");
        }
    }
}

/// The descriptors of clients and guests, and the requests of guests that went nowhere.
pub(crate) fn descriptors(
    text: &mut String,
    (connections, max_connections): (usize, usize),
    guests: Option<GuestIoUsage>,
) {
    let mut shares = vec![("connections", connections, max_connections)];
    if let Some(io) = guests {
        shares.push(("outbound", io.connections, io.max_connections));
        shares.push(("files", io.files, io.max_files));
    }
    text.push_str(
        "# HELP millpond_descriptors File descriptors in use, by share.\n\
         # TYPE millpond_descriptors gauge\n",
    );
    for (share, used, _) in &shares {
        let _ = writeln!(text, "millpond_descriptors{{share=\"{share}\"}} {used}");
    }
    text.push_str(
        "# HELP millpond_descriptors_limit File descriptors that a share has.\n\
         # TYPE millpond_descriptors_limit gauge\n",
    );
    for (share, _, max) in &shares {
        let _ = writeln!(text, "millpond_descriptors_limit{{share=\"{share}\"}} {max}");
    }
    let Some(io) = guests else { return };
    let _ = write!(
        text,
        "# HELP millpond_outbound_denied_total Requests of guests whose destination is not allowed.\n\
         # TYPE millpond_outbound_denied_total counter\n\
         millpond_outbound_denied_total {}\n\
         # HELP millpond_outbound_refused_total Requests of guests beyond the limit.\n\
         # TYPE millpond_outbound_refused_total counter\n\
         millpond_outbound_refused_total {}\n",
        io.denied, io.refused
    );
}

/// What a pool has of a family: each value with the label that tells it from the others.
type Rows<'a> = Vec<(Option<(&'a str, &'a str)>, u64)>;

fn labelled<'a>(
    label: &'a str,
    rows: impl IntoIterator<Item = (&'a str, u64)>,
) -> Vec<(Option<(&'a str, &'a str)>, u64)> {
    rows.into_iter().map(|(value, count)| (Some((label, value)), count)).collect()
}

fn family(
    text: &mut String,
    pools: &[PoolMetrics],
    (name, kind, help): (&str, &str, &str),
    rows: impl Fn(&Snapshot) -> Rows<'_>,
) {
    let _ = writeln!(text, "# HELP millpond_{name} {help}\n# TYPE millpond_{name} {kind}");
    for pool in pools {
        for (label, count) in rows(&pool.snapshot) {
            let labels = Labels(pool.middleware, label);
            let _ = writeln!(text, "millpond_{name}{labels} {count}");
        }
    }
}

fn histogram(
    text: &mut String,
    pools: &[PoolMetrics],
    (name, help): (&str, &str),
    times: impl Fn(&Snapshot) -> &Histogram,
) {
    let name = format!("millpond_{name}_seconds");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
    for pool in pools {
        let times = times(&pool.snapshot);
        let pool = pool.middleware;
        for (bound, count) in times.buckets() {
            let bound = bound.as_secs_f64().to_string();
            let _ = writeln!(text, "{name}_bucket{} {count}", Labels(pool, Some(("le", &bound))));
        }
        let (count, sum) = (times.count(), times.sum().as_secs_f64());
        let _ = writeln!(text, "{name}_bucket{} {count}", Labels(pool, Some(("le", "+Inf"))));
        let _ = writeln!(text, "{name}_sum{} {sum}", Labels(pool, None));
        let _ = writeln!(text, "{name}_count{} {count}", Labels(pool, None));
    }
}

/// The pool's label and the value's, as far as there are any.
struct Labels<'a>(Option<usize>, Option<(&'a str, &'a str)>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (None, None) => Ok(()),
            (None, Some((label, value))) => write!(f, "{{{label}=\"{value}\"}}"),
            (Some(n), None) => write!(f, "{{pool=\"middleware-{n}\"}}"),
            (Some(n), Some((label, value))) => {
                write!(f, "{{pool=\"middleware-{n}\",{label}=\"{value}\"}}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Traffic;

    #[test]
    fn middleware_pools_have_a_label() {
        let pool = |middleware, queued| {
            let mut snapshot = Snapshot::default();
            snapshot.queued = queued;
            PoolMetrics { middleware, snapshot }
        };
        let text = metrics(
            &[pool(None, 1), pool(Some(1), 2), pool(Some(2), 3)],
            None,
            Traffic::default().measure(),
            &MemoryAccount::new(1),
        );
        let lines: Vec<_> = text.lines().collect();
        for line in [
            "millpond_requests{stage=\"queued\"} 1",
            "millpond_requests{pool=\"middleware-1\",stage=\"queued\"} 2",
            "millpond_requests{pool=\"middleware-2\",stage=\"queued\"} 3",
            "millpond_spares 0",
            "millpond_spares{pool=\"middleware-1\"} 0",
            "millpond_run_time_seconds_bucket{pool=\"middleware-2\",le=\"+Inf\"} 0",
            "millpond_run_time_seconds_count{pool=\"middleware-2\"} 0",
        ] {
            assert!(lines.contains(&line), "no {line}: {text}");
        }
        let helps = lines.iter().filter(|line| line.starts_with("# HELP millpond_requests "));
        assert_eq!(helps.count(), 1, "a family has one head");
    }
}

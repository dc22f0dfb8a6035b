//! A plot of the hellos: bars, a group for each workload, drawn as SVG by hand.

use crate::compare::peer::Peer;
use crate::compare::reading::{Metric, short};
use crate::compare::records::{Records, Series};
use crate::compare::workload::{WORKLOADS, Workload};

const LEFT: f64 = 150.0;
const WIDTH: f64 = 480.0;
const BAR: f64 = 18.0;
const GAP: f64 = 14.0;

fn colour(peer: Peer) -> &'static str {
    match peer {
        Peer::Millpond => "#1f77b4",
        Peer::ProxyHandler => "#c7a46c",
        Peer::Wasmtime => "#9467bd",
        Peer::Axum => "#a0a0a0",
    }
}

/// `None` if there is no hello in the run.
pub(super) fn plot(records: &Records) -> Option<String> {
    let series =
        |workload: &Workload, peer| Series { workload: workload.name, peer, metric: Metric::Rate };
    let hellos = WORKLOADS.iter().filter(|workload| workload.group == "hello");
    let bars = |workload: &Workload| -> Vec<(Peer, f64)> {
        let median = |peer: &Peer| {
            records.spread(series(workload, *peer)).map(|spread| (*peer, spread.median))
        };
        workload.peers.iter().filter_map(median).collect()
    };
    let groups: Vec<_> = hellos.map(|workload| (workload, bars(workload))).collect();
    let most = groups.iter().flat_map(|(_, bars)| bars).map(|(_, rate)| *rate).reduce(f64::max)?;
    let mut y = 40.0;
    let mut shapes = String::new();
    for (workload, bars) in groups.iter().filter(|(_, bars)| !bars.is_empty()) {
        let name = workload.name.trim_start_matches("hello-");
        shapes += &text(
            10.0,
            y + BAR * 0.75,
            "start",
            &format!("<tspan font-weight=\"bold\">{name}</tspan>"),
        );
        for (peer, rate) in bars {
            let (width, fill) = (WIDTH * rate / most, colour(*peer));
            let base = y + BAR * 0.75;
            shapes += &text(LEFT - 6.0, base, "end", peer.name());
            shapes += &format!(
                "<rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{:.0}\" fill=\"{fill}\"/>\n",
                BAR - 3.0
            );
            shapes += &text(LEFT + width + 6.0, base, "start", &short(*rate));
            y += BAR;
        }
        y += GAP;
    }
    let title = "Hello, requests a second (median of the rounds)";
    Some(svg(LEFT + WIDTH + 80.0, y, title, &shapes))
}

/// A picture of these shapes, under a title.
pub(crate) fn svg(width: f64, height: f64, title: &str, shapes: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}{shapes}</svg>\n",
        text(10.0, 20.0, "start", title)
    )
}

pub(crate) fn text(x: f64, y: f64, anchor: &str, what: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>\n")
}

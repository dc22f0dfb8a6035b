//! A picture: memory, descriptors and the innocents' p99 over time.

use super::samples::{Phase, Sample, Samples};
use crate::compare::report::plot::{svg, text};

/// What a chart shows of a sample.
type Value = fn(&Sample) -> f64;

const LEFT: f64 = 70.0;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 110.0;
const GAP: f64 = 46.0;

pub(super) fn plot(samples: &Samples) -> String {
    let charts: [(&str, Value); 3] = [
        ("memory of both servers, MiB", |sample| sample.sum(|held| held.memory)),
        ("their descriptors", |sample| sample.sum(|held| held.descriptors as f64)),
        ("p99 of innocents in each second, ms", |sample| sample.millis(0.99)),
    ];
    let mut y = GAP;
    let mut shapes = String::new();
    for (title, of) in charts {
        shapes += &chart(title, y, &samples.all, of);
        y += HEIGHT + GAP;
    }
    let title = format!("A soak of {} s; the attack is shaded", samples.all.len());
    svg(LEFT + WIDTH + 20.0, y, &title, &shapes)
}

fn chart(title: &str, top: f64, samples: &[Sample], of: fn(&Sample) -> f64) -> String {
    let most = samples.iter().map(of).fold(1.0, f64::max);
    let x = |at: usize| LEFT + WIDTH * at as f64 / samples.len().max(1) as f64;
    let attacked = |sample: &Sample| sample.phase == Phase::Attack;
    let begin = samples.iter().position(attacked).unwrap_or(0);
    let end = samples.iter().rposition(attacked).map_or(begin, |last| last + 1);
    let mut shapes = format!(
        "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#f3e3e0\"/>\n",
        x(begin),
        x(end) - x(begin)
    );
    shapes += &text(LEFT, top - 8.0, "start", title);
    shapes += &text(LEFT - 6.0, top + 10.0, "end", &format!("{most:.0}"));
    shapes += &text(LEFT - 6.0, top + HEIGHT, "end", "0");
    let points = samples.iter().enumerate().map(|(at, sample)| {
        format!("{:.1},{:.1}", x(at), top + HEIGHT - HEIGHT * of(sample) / most)
    });
    let points = points.collect::<Vec<_>>().join(" ");
    shapes += &format!(
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"1.2\"/>\n"
    );
    shapes
}

//! All readings of a run, and the ratios between them. A ratio is taken within a round: whatever the
//! machine did meanwhile, it did to both.

use serde_json::{Value, json};

use super::peer::Peer;
use super::reading::{Metric, Reading, Spread};

struct Record {
    workload: &'static str,
    peer: Peer,
    round: usize,
    reading: Reading,
}

#[derive(Default)]
pub(super) struct Records {
    all: Vec<Record>,
}

/// One number of each round.
#[derive(Clone, Copy)]
pub(super) struct Series {
    pub(super) workload: &'static str,
    pub(super) peer: Peer,
    pub(super) metric: Metric,
}

impl Records {
    pub(super) fn add(
        &mut self,
        workload: &'static str,
        peer: Peer,
        round: usize,
        reading: Reading,
    ) {
        self.all.push(Record { workload, peer, round, reading });
    }

    fn of(&self, series: Series) -> impl Iterator<Item = (usize, f64)> {
        let this = move |record: &&Record| {
            record.workload == series.workload && record.peer == series.peer
        };
        self.all
            .iter()
            .filter(this)
            .filter_map(move |record| Some((record.round, *record.reading.get(&series.metric)?)))
    }

    /// `None` if there is none.
    pub(super) fn spread(&self, series: Series) -> Option<Spread> {
        Spread::of(self.of(series).map(|(_, number)| number).collect())
    }

    /// How many times as much, in each round.
    pub(super) fn ratio(&self, this: Series, other: Series) -> Option<Spread> {
        let ratios = self.of(this).filter_map(|(round, number)| {
            let (_, other) = self.of(other).find(|(other, _)| *other == round)?;
            (other > 0.0).then(|| number / other)
        });
        Spread::of(ratios.collect())
    }

    pub(super) fn has(&self, workload: &str) -> bool {
        self.all.iter().any(|record| record.workload == workload)
    }

    pub(super) fn has_of(&self, workload: &str, peer: Peer) -> bool {
        self.all.iter().any(|record| record.workload == workload && record.peer == peer)
    }

    pub(super) fn json(&self) -> Value {
        let record = |record: &Record| {
            let numbers = record.reading.iter();
            let numbers = numbers.map(|(metric, number)| (format!("{metric:?}"), json!(number)));
            json!({
                "workload": record.workload,
                "peer": record.peer.name(),
                "round": record.round,
                "reading": Value::Object(numbers.collect()),
            })
        };
        self.all.iter().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Metric, Peer, Reading, Records, Series};

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut records = Records::default();
        let rate = |number| Reading::from([(Metric::Rate, number)]);
        for (round, ours, theirs) in [(1, 10.0, 5.0), (2, 300.0, 100.0)] {
            records.add("hello", Peer::Millpond, round, rate(ours));
            records.add("hello", Peer::Wasmtime, round, rate(theirs));
        }
        records.add("hello", Peer::Millpond, 3, rate(1.0));
        let series = |peer| Series { workload: "hello", peer, metric: Metric::Rate };
        let ratio = records.ratio(series(Peer::Millpond), series(Peer::Wasmtime));
        let ratio = ratio.expect("two rounds have both");
        assert_eq!((ratio.least, ratio.median, ratio.most), (2.0, 2.5, 3.0));
    }
}

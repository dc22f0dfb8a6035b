//! Tables that read well as text and as Markdown.

use crate::compare::peer::Peer;
use crate::compare::records::{Records, Series};
use crate::compare::workload::Workload;

/// Rows of cells, the first of them the heads of the columns.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let padded = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        line(cells.map(|(cell, width)| format!("{cell:<width$}")).collect())
    };
    let rule = line(widths.iter().map(|width| "-".repeat(*width)).collect());
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text += &padded(row);
        if index == 0 {
            text += &rule;
        }
    }
    text
}

/// What a workload gave: for each peer the medians, and below each what Millpond's are to it.
pub(in crate::compare) fn results(records: &Records, workload: &Workload) -> String {
    let name = workload.name;
    let metrics = workload.metrics();
    let heads = metrics.iter().map(|metric| metric.unit().to_owned());
    let mut rows = vec![std::iter::once(String::new()).chain(heads).collect::<Vec<_>>()];
    let series = |peer, metric| Series { workload: name, peer, metric };
    let dash = |spread: Option<_>| {
        spread.map_or("-".to_owned(), |spread: crate::compare::reading::Spread| spread.to_string())
    };
    let present = |peer: &&Peer| {
        metrics.iter().any(|metric| records.spread(series(**peer, *metric)).is_some())
    };
    let peers: Vec<Peer> = workload.peers.iter().filter(present).copied().collect();
    for peer in &peers {
        let cells = metrics.iter().map(|metric| dash(records.spread(series(*peer, *metric))));
        rows.push(std::iter::once(peer.to_string()).chain(cells).collect());
    }
    if peers.contains(&Peer::Millpond) {
        for peer in peers.iter().filter(|peer| **peer != Peer::Millpond) {
            let ratio = |metric| {
                let (ours, theirs) = (series(Peer::Millpond, metric), series(*peer, metric));
                dash(records.ratio(ours, theirs))
            };
            let cells = metrics.iter().map(|metric| ratio(*metric));
            rows.push(std::iter::once(format!("millpond / {peer}")).chain(cells).collect());
        }
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["", "requests/s"], ["millpond", "7"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let lines = [
            "|          | requests/s |",
            "| -------- | ---------- |",
            "| millpond | 7          |\n",
        ];
        assert_eq!(super::table(&rows), lines.join("\n"));
    }
}

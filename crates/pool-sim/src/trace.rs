//! What happened, as a hash of all of it and the last lines in full.

use std::collections::VecDeque;

use crate::agenda::Time;
use crate::record::Record;

/// How many lines a failure shows.
const KEPT: usize = 40;

/// FNV-1a over words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(pub(crate) u64);

impl Hash {
    pub(crate) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(crate) fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        // Words are longer than the bytes that FNV is made for: the upper half must come down.
        self.0 ^= self.0 >> 32;
    }
}

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) hash: Hash,
    lines: VecDeque<Line>,
    verbose: bool,
}

#[derive(Debug)]
struct Line {
    step: u64,
    at: Time,
    pool: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Pool(Record),
    Note(String),
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hash: Hash::EMPTY, lines: VecDeque::with_capacity(KEPT + 1), verbose }
    }

    pub(crate) fn record(&mut self, step: u64, at: Time, pool: usize, record: Record) {
        let (kind, a, b) = record.digest();
        for word in [at, (pool as u64) << 32 | kind, a, b] {
            self.hash.add(word);
        }
        self.push(Line { step, at, pool, what: What::Pool(record) });
    }

    /// What the budget or the world does.
    pub(crate) fn note(&mut self, step: u64, at: Time, pool: usize, word: u64, note: String) {
        self.hash.add(at);
        self.hash.add(word);
        self.push(Line { step, at, pool, what: What::Note(note) });
    }

    fn push(&mut self, line: Line) {
        if self.verbose {
            println!("{}", line.text());
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.lines.iter().map(Line::text).collect()
    }
}

impl Line {
    fn text(&self) -> String {
        let Self { step, at, pool, what } = self;
        let secs = *at as f64 / 1e9;
        match what {
            What::Pool(record) => format!("{step:>8} {secs:>14.6}s pool {pool}: {record:?}"),
            What::Note(note) => format!("{step:>8} {secs:>14.6}s pool {pool}: * {note}"),
        }
    }
}

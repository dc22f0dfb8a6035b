//! A budget for HTTP/2 frames that ask for work and do none.
//!
//! h2 bounds what such frames make it hold, and answers as many as come: floods of PING, SETTINGS, PRIORITY or
//! WINDOW_UPDATE, or of requests that are reset at once, cost a peer nothing and us a core. Here each of them costs
//! something, and what is useful (requests, response bytes that were taken) and time give back. Where nothing is left,
//! the connection ends.
//!
//! A state machine over the bytes that come: it reads the nine bytes of each frame's head, and copies nothing else.

use std::time::Duration;

use tokio::time::Instant;

/// What a connection may spend ahead.
const BURST: i64 = 2000;

/// What a second gives back.
const REFILL: i64 = 100;

/// What a request gives back.
const REQUEST: i64 = 8;

/// What a reset costs. With what its request gave back, it is a loss.
const RESET: i64 = 10;

/// Bytes of a frame's head.
const HEAD: usize = 9;

/// A peer sends too many frames that do no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flood;

/// The frames that come on one connection, after its preface.
#[derive(Debug)]
pub(crate) struct FrameBudget {
    /// The head of the next frame, and how much of it has come.
    head: [u8; HEAD],
    come: usize,
    /// Bytes of this frame that are still to come.
    payload: usize,
    /// The last stream that was opened.
    last_stream: u32,
    left: i64,
    /// When time gave back last.
    refilled: Instant,
    /// How much useful work has been counted already.
    counted: u64,
}

impl FrameBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            head: [0; HEAD],
            come: 0,
            payload: 0,
            last_stream: 0,
            left: BURST,
            refilled: now,
            counted: 0,
        }
    }

    /// Looks at bytes that have come. `now` and `useful`, the work done for the peer so far, are asked for only when the
    /// budget is used up.
    pub(crate) fn receive(
        &mut self,
        mut bytes: &[u8],
        now: impl Fn() -> Instant,
        useful: impl Fn() -> u64,
    ) -> Result<(), Flood> {
        loop {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let part = bytes.len().min(HEAD - self.come);
            self.head[self.come..self.come + part].copy_from_slice(&bytes[..part]);
            self.come += part;
            bytes = &bytes[part..];
            if self.come < HEAD {
                return Ok(());
            }
            self.come = 0;
            self.left = self.left.saturating_add(self.frame()).min(BURST);
            if self.left < 0 {
                self.refill(now(), useful());
                if self.left < 0 {
                    return Err(Flood);
                }
            }
        }
    }

    /// A head is whole; returns what the frame gives back.
    fn frame(&mut self) -> i64 {
        let [len0, len1, len2, kind, flags, stream @ ..] = self.head;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        self.payload = u32::from_be_bytes([0, len0, len1, len2]) as usize;
        match kind {
            // DATA that is small, and more than a few that are empty, h2 bounds itself.
            0 if self.payload > 0 || flags & 1 != 0 => 0,
            // HEADERS: a request, or trailers.
            1 if stream > self.last_stream => {
                self.last_stream = stream;
                REQUEST
            }
            // RST_STREAM.
            3 => -RESET,
            _ => -1,
        }
    }

    fn refill(&mut self, now: Instant, useful: u64) {
        let time = now.saturating_duration_since(self.refilled);
        let given =
            i64::try_from(time.as_millis()).unwrap_or(i64::MAX).saturating_mul(REFILL) / 1000;
        let work = i64::try_from(useful.saturating_sub(self.counted)).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(given).saturating_add(work).min(BURST);
        // What is less than one stays to be given.
        self.refilled += Duration::from_millis(
            given.unsigned_abs().saturating_mul(1000) / REFILL.unsigned_abs(),
        );
        self.counted = useful;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this kind, on this stream.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// How many of these frames come within no time, of at most 100 000.
    fn bears(mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
        let now = Instant::now();
        let mut budget = FrameBudget::new(now);
        let fits = |n: &u32| budget.receive(&next(*n), || now, || 0).is_ok();
        u32::try_from((0..100_000).take_while(fits).count()).unwrap()
    }

    #[test]
    fn floods_end_and_requests_do_not() {
        for (kind, payload) in [(2, 5), (4, 0), (6, 8), (8, 4), (9, 100), (0, 0), (200, 3)] {
            let n = bears(|_| frame(kind, 0, 1, &vec![0; payload]));
            assert_eq!(i64::from(n), BURST, "frames of kind {kind}");
        }
        assert_eq!(bears(|n| frame(1, 5, 2 * n + 1, b"head")), 100_000);
        assert_eq!(bears(|n| frame(0, 0, n, b"data")), 100_000);
        assert_eq!(bears(|n| frame(0, 1, n, b"")), 100_000);
        let reset =
            bears(|n| [frame(1, 5, 2 * n + 1, b"head"), frame(3, 0, 2 * n + 1, &[0; 4])].concat());
        assert_eq!(i64::from(reset), (BURST - RESET) / (RESET - REQUEST) + 1, "rapid reset");
        let trailers = bears(|_| frame(1, 5, 1, b"head"));
        assert_eq!(i64::from(trailers), BURST + REQUEST + 1 - 8, "the same stream again and again");
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let now = Instant::now();
        let frames: Vec<u8> = (0..u32::try_from(BURST).unwrap() + 1)
            .flat_map(|n| frame(6, 0, 0, &vec![6; n as usize % 40]))
            .collect();
        let whole = FrameBudget::new(now).receive(&frames, || now, || 0);
        assert_eq!(whole, Err(Flood));
        for size in [1, 7, 9, 10, 1000] {
            let mut budget = FrameBudget::new(now);
            let last = frames.len() - frames.len() % 40 - 40 * 9;
            let fits = |piece| budget.receive(piece, || now, || 0).is_ok();
            assert!(frames[..last].chunks(size).all(fits), "in pieces of {size}");
            let mut budget = FrameBudget::new(now);
            let fits = |piece| budget.receive(piece, || now, || 0).is_ok();
            assert!(!frames.chunks(size).all(fits), "in pieces of {size}");
        }
    }

    #[test]
    fn time_and_useful_work_give_back() {
        let now = Instant::now();
        let ping = frame(6, 0, 0, &[0; 8]);
        let mut budget = FrameBudget::new(now);
        // At the rate at which time gives back.
        for n in 0..100_000_u64 {
            let now = now + Duration::from_millis(n * 10);
            budget.receive(&ping, || now, || 0).unwrap();
        }
        let mut budget = FrameBudget::new(now);
        for n in 0..100_000 {
            budget.receive(&ping, || now, || n).unwrap();
        }
        let mut budget = FrameBudget::new(now);
        let fits = |_: &u64| budget.receive(&ping, || now, || 1_000_000).is_ok();
        assert_eq!(
            (0..100_000).take_while(fits).count(),
            2 * 2000 + 1,
            "no more is saved up than a burst"
        );
    }
}

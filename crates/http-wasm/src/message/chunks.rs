//! The pieces of a body that are held. Small ones are put together: a body of single bytes is not to hold
//! many times its length.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::message::budget::{BufferBudget, Charge, Full};

/// A piece shorter than this many bytes is copied to those before it: it may be a slice of a buffer of 64 KiB, which it
/// would keep.
const SMALL: usize = 32 * 1024;
/// When so many bytes have been put together, another piece begins.
const BLOCK: usize = 64 * 1024;
/// The least that is allocated to put them together.
const LEAST: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// Those that do not change any more.
    whole: VecDeque<Bytes>,
    /// The last one, to which small ones are added.
    last: BytesMut,
    /// What that one has from the budget: all that is allocated for it.
    held: Option<Charge>,
    /// Where it is read on: which piece, and where in it. At the end of the last one it stays there.
    at: (usize, usize),
    /// Bytes in all.
    len: usize,
}

impl Chunks {
    /// Keeps a piece, if the budget has room for it.
    pub(crate) fn push(&mut self, bytes: Bytes, budget: &BufferBudget) -> Result<(), Full> {
        if bytes.len() < SMALL {
            return self.copy_from(&bytes, budget);
        }
        let charge = budget.charge(bytes.len())?;
        self.pass(charge.attach(bytes));
        Ok(())
    }

    /// Takes a piece that goes on at once: it is not kept.
    pub(crate) fn pass(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.begin_another();
        self.whole.push_back(bytes);
    }

    pub(crate) fn copy_from(&mut self, bytes: &[u8], budget: &BufferBudget) -> Result<(), Full> {
        let needed = self.last.len() + bytes.len();
        if needed > self.last.capacity() {
            let size = if needed < BLOCK { needed.next_power_of_two() } else { needed };
            let size = size.max(LEAST);
            // Both are there while the one is copied to the other.
            let charge = budget.charge(size)?;
            let mut larger = BytesMut::with_capacity(size);
            larger.extend_from_slice(&self.last);
            (self.last, self.held) = (larger, Some(charge));
        }
        self.len += bytes.len();
        self.last.extend_from_slice(bytes);
        if self.last.len() >= BLOCK {
            self.begin_another();
        }
        Ok(())
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing left to be read.
    pub(crate) fn is_read(&self) -> bool {
        let (chunk, offset) = self.at;
        let read = if chunk < self.whole.len() {
            chunk + 1 == self.whole.len() && offset == self.whole[chunk].len()
        } else {
            offset == self.last.len()
        };
        read && (chunk >= self.whole.len() || self.last.is_empty())
    }

    /// Reads on, and says how much. What is not kept goes away.
    pub(crate) fn read(&mut self, mut buf: &mut [u8], keep: bool) -> usize {
        let mut read = 0;
        loop {
            let from = match self.whole.get(self.at.0) {
                Some(chunk) => &chunk[self.at.1..],
                None => &self.last[self.at.1..],
            };
            let len = from.len().min(buf.len());
            let all = len == from.len();
            let (to, more) = buf.split_at_mut(len);
            to.copy_from_slice(&from[..len]);
            (buf, read) = (more, read + len);
            if keep {
                self.at.1 += len;
            } else {
                self.drop_read(len);
            }
            if !all || self.at.0 >= self.whole.len() {
                return read;
            }
            if keep {
                self.at = (self.at.0 + 1, 0);
            } else {
                self.whole.pop_front();
            }
        }
    }

    /// All pieces; they stay, to be read from the start.
    pub(crate) fn pieces(&mut self) -> VecDeque<Bytes> {
        self.begin_another();
        self.at = (0, 0);
        self.whole.clone()
    }

    fn begin_another(&mut self) {
        if self.last.is_empty() {
            return;
        }
        let last = std::mem::take(&mut self.last).freeze();
        self.whole.push_back(match self.held.take() {
            Some(charge) => charge.attach(last),
            None => last,
        });
    }

    /// What is not kept is read at the very front.
    fn drop_read(&mut self, len: usize) {
        self.len -= len;
        match self.whole.front_mut() {
            Some(chunk) => chunk.advance(len),
            None => self.last.advance(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BLOCK, Chunks, LEAST, SMALL};
    use crate::message::budget::{BufferBudget, Full};

    fn push(chunks: &mut Chunks, bytes: Bytes) {
        chunks.push(bytes, &BufferBudget::default()).unwrap();
    }

    fn read(chunks: &mut Chunks, len: usize, keep: bool) -> String {
        let mut buf = vec![0; len];
        let len = chunks.read(&mut buf, keep);
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    #[test]
    fn single_bytes_are_merged_into_chunks() {
        let mut chunks = Chunks::default();
        for _ in 0..3 * BLOCK {
            push(&mut chunks, Bytes::from_static(b"a"));
            assert_eq!(read(&mut chunks, 9, true), "a");
        }
        assert_eq!(chunks.len(), 3 * BLOCK);
        assert_eq!(chunks.pieces().len(), 3);
    }

    #[test]
    fn large_pieces_stay_whole_and_in_order() {
        let large = Bytes::from("b".repeat(SMALL));
        let mut chunks = Chunks::default();
        push(&mut chunks, Bytes::from_static(b"a"));
        push(&mut chunks, large.clone());
        push(&mut chunks, Bytes::from_static(b"c"));
        assert!(!chunks.is_read());
        assert_eq!(read(&mut chunks, SMALL + 9, true), format!("a{}c", "b".repeat(SMALL)));
        assert!(chunks.is_read());
        let pieces = chunks.pieces();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [1, SMALL, 1]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr(), "not copied");
        assert!(!chunks.is_read(), "from the start");
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        let mut chunks = Chunks::default();
        push(&mut chunks, Bytes::from("a".repeat(SMALL)));
        push(&mut chunks, Bytes::from_static(b"bc"));
        assert_eq!(read(&mut chunks, SMALL + 1, false).len(), SMALL + 1);
        assert_eq!((chunks.len(), chunks.is_read()), (1, false));
        assert_eq!(read(&mut chunks, 9, true), "c");
        push(&mut chunks, Bytes::from_static(b"d"));
        assert_eq!(read(&mut chunks, 9, true), "d");
        let all: Vec<u8> = chunks.pieces().into_iter().flatten().collect();
        assert_eq!(all, b"cd");
    }

    #[test]
    fn pieces_count_while_they_are_held() {
        let budget = BufferBudget::new(BLOCK + SMALL);
        let mut chunks = Chunks::default();
        chunks.push(Bytes::from_static(b"a"), &budget).unwrap();
        assert_eq!(budget.used(), LEAST, "what is allocated for it");
        chunks.push(Bytes::from("b".repeat(SMALL)), &budget).unwrap();
        assert_eq!(budget.used(), LEAST + SMALL);
        assert_eq!(chunks.push(Bytes::from("c".repeat(BLOCK)), &budget), Err(Full));
        assert_eq!(chunks.copy_from(&[b'd'; BLOCK], &budget), Err(Full));
        assert_eq!((chunks.len(), budget.used()), (SMALL + 1, LEAST + SMALL), "as it was");
        // What goes on is held until it has gone, and counts once.
        let mut pieces = chunks.pieces();
        drop(chunks);
        assert_eq!(budget.used(), LEAST + SMALL);
        pieces.pop_front();
        assert_eq!(budget.used(), SMALL);
        drop(pieces);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_read_and_not_kept_is_given_back() {
        let budget = BufferBudget::new(BLOCK);
        let mut chunks = Chunks::default();
        for _ in 0..10 * BLOCK / SMALL {
            chunks.push(Bytes::from("a".repeat(SMALL)), &budget).unwrap();
            assert_eq!(read(&mut chunks, SMALL, false).len(), SMALL);
        }
        assert!(budget.used() <= SMALL);
    }
}

//! The pieces of a body that are held. Small ones are put together: a body of single bytes is not to hold
//! many times its length.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

/// A piece shorter than this many bytes is copied to those before it.
const SMALL: usize = 4 * 1024;
/// When so many bytes have been put together, another piece begins.
const BLOCK: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// Those that do not change any more.
    whole: VecDeque<Bytes>,
    /// The last one, to which small ones are added.
    last: BytesMut,
    /// Where it is read on: which piece, and where in it. At the end of the last one it stays there.
    at: (usize, usize),
    /// Bytes in all.
    len: usize,
}

impl Chunks {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < SMALL {
            return self.copy_from(&bytes);
        }
        self.len += bytes.len();
        self.begin_another();
        self.whole.push_back(bytes);
    }

    pub(crate) fn copy_from(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.last.extend_from_slice(bytes);
        if self.last.len() >= BLOCK {
            self.begin_another();
        }
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
        if !self.last.is_empty() {
            self.whole.push_back(self.last.split().freeze());
        }
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

    use super::{BLOCK, Chunks, SMALL};

    fn read(chunks: &mut Chunks, len: usize, keep: bool) -> String {
        let mut buf = vec![0; len];
        let len = chunks.read(&mut buf, keep);
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    #[test]
    fn what_comes_a_byte_at_a_time_is_not_held_a_byte_at_a_time() {
        let mut chunks = Chunks::default();
        for _ in 0..3 * BLOCK {
            chunks.push(Bytes::from_static(b"a"));
            assert_eq!(read(&mut chunks, 9, true), "a");
        }
        assert_eq!(chunks.len(), 3 * BLOCK);
        assert_eq!(chunks.pieces().len(), 3);
    }

    #[test]
    fn large_pieces_stay_as_they_came_and_in_order() {
        let large = Bytes::from("b".repeat(SMALL));
        let mut chunks = Chunks::default();
        chunks.push(Bytes::from_static(b"a"));
        chunks.push(large.clone());
        chunks.push(Bytes::from_static(b"c"));
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
        chunks.push(Bytes::from("a".repeat(SMALL)));
        chunks.push(Bytes::from_static(b"bc"));
        assert_eq!(read(&mut chunks, SMALL + 1, false).len(), SMALL + 1);
        assert_eq!((chunks.len(), chunks.is_read()), (1, false));
        assert_eq!(read(&mut chunks, 9, true), "c");
        chunks.push(Bytes::from_static(b"d"));
        assert_eq!(read(&mut chunks, 9, true), "d");
        let all: Vec<u8> = chunks.pieces().into_iter().flatten().collect();
        assert_eq!(all, b"cd");
    }
}

//! A body on its way through a guest: what the guest reads of it, and what goes on.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::message::budget::{BufferBudget, Full};
use crate::message::chunks::Chunks;
use crate::message::trailers::Trailers;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A request's body, whatever it was.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// A body, as a guest reads and writes it.
pub(crate) struct BodyBuffer {
    /// What has come and is still needed.
    come: Chunks,
    /// What has not come yet; `None`: it has ended.
    rest: Option<Incoming>,
    /// The guest has taken something away without its being kept.
    consumed: bool,
    /// What the guest has put in its place.
    written: Option<Chunks>,
    pub(crate) trailers: Trailers,
    /// Bytes that may be held, of what has come and what was written together.
    max: usize,
}

/// What one call of the guest read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) len: usize,
    /// There is nothing after it.
    pub(crate) end: bool,
}

/// Why a body cannot be read or written.
#[derive(Debug)]
pub(crate) enum BodyBufferError {
    /// More would have to be held than may be, in bytes.
    TooLarge { max: usize },
    /// There is no room for it now: others hold theirs.
    Full,
    /// It broke off.
    Broken(BoxError),
}

impl BodyBuffer {
    /// A body that has not come yet, of which as many bytes as this may be held.
    pub(crate) fn coming(body: Option<Incoming>, max: usize) -> Self {
        let mut trailers = Trailers::default();
        if body.is_none() {
            trailers.arrive(None);
        }
        Self { rest: body, trailers, ..Self::empty(max) }
    }

    /// Nothing, so far.
    pub(crate) fn empty(max: usize) -> Self {
        Self {
            come: Chunks::default(),
            rest: None,
            consumed: false,
            written: None,
            trailers: Trailers::default(),
            max,
        }
    }

    /// Fills the guest's buffer, unless the body ends before; waits for more if need be. What is kept goes
    /// on to the next reader of the body.
    pub(crate) async fn read(
        &mut self,
        buf: &mut [u8],
        keep: bool,
        budget: &BufferBudget,
    ) -> Result<Read, BodyBufferError> {
        let mut len = 0;
        loop {
            let read = self.come.read(&mut buf[len..], keep);
            self.consumed |= !keep && read > 0;
            len += read;
            if len == buf.len() {
                return Ok(Read { len, end: self.has_ended(keep, budget).await? });
            }
            if !self.fetch(keep, budget).await? {
                return Ok(Read { len, end: true });
            }
        }
    }

    /// The same of a body that has all come.
    pub(crate) fn read_whole(&mut self, buf: &mut [u8]) -> Read {
        let len = self.come.read(buf, true);
        Read { len, end: self.come.is_read() }
    }

    /// The guest puts something in the body's place: the first time, in place of all of it.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        budget: &BufferBudget,
    ) -> Result<(), BodyBufferError> {
        self.check_room(bytes.len(), budget)?;
        Ok(self.written.get_or_insert_default().copy_from(bytes, budget)?)
    }

    /// A piece of the body has come, to be held.
    pub(crate) fn push(
        &mut self,
        bytes: Bytes,
        budget: &BufferBudget,
    ) -> Result<(), BodyBufferError> {
        self.check_room(bytes.len(), budget)?;
        Ok(self.come.push(bytes, budget)?)
    }

    /// A piece of the body has come that goes on at once.
    pub(crate) fn append(&mut self, bytes: Bytes) {
        self.come.pass(bytes);
    }

    /// Whether what goes on is not as long as what came.
    pub(crate) fn is_changed(&self) -> bool {
        self.written.is_some() || self.consumed
    }

    /// How many bytes the guest has written in its place, if it has.
    pub(crate) fn written_len(&self) -> Option<usize> {
        self.written.as_ref().map(Chunks::len)
    }

    /// What the guest has written so far counts as what came first.
    pub(crate) fn settle_written(&mut self) {
        if let Some(written) = self.written.take() {
            self.come = written;
        }
    }

    /// Returns what goes on to the next reader. What has come and was kept stays as well, to be read from
    /// the start.
    pub(crate) fn pass_on(&mut self) -> (VecDeque<Bytes>, Option<Incoming>) {
        let rest = self.rest.take();
        let come = self.come.pieces();
        match self.written.take() {
            Some(mut written) => {
                // The rest will not be read, so its trailers will not arrive.
                self.trailers.arrive(None);
                (written.pieces(), None)
            }
            None => (come, rest),
        }
    }

    /// Whether nothing comes after what has been read. Waits for what comes next where the body itself
    /// does not know.
    async fn has_ended(
        &mut self,
        keep: bool,
        budget: &BufferBudget,
    ) -> Result<bool, BodyBufferError> {
        if !self.come.is_read() {
            return Ok(false);
        }
        match &self.rest {
            None => Ok(true),
            Some(rest) if rest.is_end_stream() => Ok(true),
            Some(rest) if rest.size_hint().lower() > 0 => Ok(false),
            Some(_) => Ok(!self.fetch(keep, budget).await?),
        }
    }

    /// Waits for the next piece. `false`: there is none.
    async fn fetch(&mut self, keep: bool, budget: &BufferBudget) -> Result<bool, BodyBufferError> {
        while let Some(rest) = &mut self.rest {
            let frame = rest.frame().await.transpose().map_err(BodyBufferError::Broken)?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    if keep {
                        // One that says how long it is need not come that far to be refused.
                        let rest = usize::try_from(rest.size_hint().lower()).unwrap_or(usize::MAX);
                        self.check_room(rest.saturating_add(data.len()), budget)?;
                    }
                    self.push(data, budget)?;
                    return Ok(true);
                }
                Some(Err(other)) => self.end(other.into_trailers().ok()),
                None => self.end(None),
            }
        }
        Ok(false)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.rest = None;
        self.trailers.arrive(trailers);
    }

    fn check_room(&self, len: usize, budget: &BufferBudget) -> Result<(), BodyBufferError> {
        let held = self.come.len() + self.written_len().unwrap_or(0);
        // What there will never be room for is too large, and not only now.
        let max = self.max.min(budget.limit());
        if len > max.saturating_sub(held) {
            return Err(BodyBufferError::TooLarge { max });
        }
        Ok(())
    }
}

impl From<Full> for BodyBufferError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl fmt::Display for BodyBufferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { max } => write!(f, "more than {max} bytes of a body to hold"),
            Self::Full => f.write_str("no room now for one more piece of a body to hold"),
            Self::Broken(error) => write!(f, "the body broke off: {error}"),
        }
    }
}

impl std::error::Error for BodyBufferError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge { .. } | Self::Full => None,
            Self::Broken(error) => Some(&**error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::executor::block_on;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::{BodyBuffer, BodyBufferError, Incoming, Read};
    use crate::message::budget::BufferBudget;

    fn never(error: Infallible) -> super::BoxError {
        match error {}
    }

    /// A body of unknown length, in these pieces.
    fn pieces(pieces: &[&'static str]) -> Option<Incoming> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        Some(StreamBody::new(futures::stream::iter(frames)).map_err(never).boxed_unsync())
    }

    fn read(buffer: &mut BodyBuffer, len: usize, keep: bool) -> (String, bool) {
        let mut buf = vec![0; len];
        let Read { len, end } =
            block_on(buffer.read(&mut buf, keep, &BufferBudget::default())).unwrap();
        (String::from_utf8(buf[..len].to_vec()).unwrap(), end)
    }

    fn write(buffer: &mut BodyBuffer, bytes: &[u8]) -> Result<(), BodyBufferError> {
        buffer.write(bytes, &BufferBudget::default())
    }

    fn passed_on(buffer: &mut BodyBuffer) -> String {
        let (chunks, rest) = buffer.pass_on();
        let mut all: Vec<u8> = chunks.iter().flatten().copied().collect();
        if let Some(rest) = rest {
            all.extend_from_slice(&block_on(rest.collect()).unwrap().to_bytes());
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_full_read_reports_the_end_at_once() {
        let mut buffer = BodyBuffer::coming(pieces(&["ab", "", "cd"]), 100);
        assert_eq!(read(&mut buffer, 3, true), ("abc".to_owned(), false));
        assert_eq!(read(&mut buffer, 1, true), ("d".to_owned(), true), "full, and the end");
        assert_eq!(read(&mut buffer, 1, true), (String::new(), true));
        assert_eq!(passed_on(&mut buffer), "abcd");
        assert_eq!(read(&mut buffer, 9, true), ("abcd".to_owned(), true), "again, from the start");
    }

    #[test]
    fn a_known_length_ends_without_waiting() {
        let body = Full::from("abcd").map_err(never).boxed_unsync();
        let mut buffer = BodyBuffer::coming(Some(body), 100);
        assert_eq!(read(&mut buffer, 4, true), ("abcd".to_owned(), true));
    }

    #[test]
    fn unkept_bytes_are_gone_the_rest_goes_on() {
        let mut buffer = BodyBuffer::coming(pieces(&["abc", "def", "ghi"]), 100);
        assert_eq!(read(&mut buffer, 4, false), ("abcd".to_owned(), false));
        assert!(buffer.is_changed());
        assert_eq!(passed_on(&mut buffer), "efghi");
    }

    #[test]
    fn bytes_read_before_keeping_stay_gone() {
        let mut buffer = BodyBuffer::coming(pieces(&["abc", "defghi", "jkl"]), 100);
        assert_eq!(read(&mut buffer, 1, false), ("a".to_owned(), false));
        assert_eq!(read(&mut buffer, 7, true), ("bcdefgh".to_owned(), false));
        assert_eq!(passed_on(&mut buffer), "bcdefghijkl");
    }

    #[test]
    fn written_bytes_replace_the_received_body() {
        let mut buffer = BodyBuffer::coming(pieces(&["abc", "def"]), 100);
        assert_eq!(read(&mut buffer, 2, true), ("ab".to_owned(), false));
        write(&mut buffer, b"AB").unwrap();
        assert_eq!(read(&mut buffer, 9, true), ("cdef".to_owned(), true), "reading goes on");
        write(&mut buffer, b"CDEF").unwrap();
        assert_eq!(buffer.written_len(), Some(6));
        assert_eq!(passed_on(&mut buffer), "ABCDEF");

        let mut buffer = BodyBuffer::coming(pieces(&["abc"]), 100);
        write(&mut buffer, b"").unwrap();
        assert_eq!(passed_on(&mut buffer), "", "nothing is something too");
    }

    #[test]
    fn no_more_is_held_than_allowed() {
        let budget = BufferBudget::default();
        let mut buffer = BodyBuffer::coming(pieces(&["abc", "def"]), 5);
        let error = block_on(buffer.read(&mut [0; 9], true, &budget)).unwrap_err();
        assert!(matches!(error, BodyBufferError::TooLarge { max: 5 }));

        let body = Full::from("abcdef").map_err(never).boxed_unsync();
        let mut buffer = BodyBuffer::coming(Some(body), 5);
        let error = block_on(buffer.read(&mut [0; 2], true, &budget)).unwrap_err();
        assert!(matches!(error, BodyBufferError::TooLarge { max: 5 }));

        let mut buffer = BodyBuffer::coming(pieces(&["abc", "def"]), 5);
        assert_eq!(read(&mut buffer, 9, false), ("abcdef".to_owned(), true), "a piece at a time");
        write(&mut buffer, b"12345").unwrap();
        assert!(write(&mut buffer, b"6").is_err());
    }

    #[test]
    fn full_now_is_not_too_large() {
        let budget = BufferBudget::new(1000);
        let others = budget.charge(900).unwrap();
        let mut buffer = BodyBuffer::coming(pieces(&["abc"]), 5000);
        let error = block_on(buffer.read(&mut [0; 9], true, &budget)).unwrap_err();
        assert!(matches!(error, BodyBufferError::Full));
        assert!(matches!(buffer.write(b"a", &budget), Err(BodyBufferError::Full)));
        let error = buffer.write(&[0; 1001], &budget).unwrap_err();
        assert!(matches!(error, BodyBufferError::TooLarge { max: 1000 }));
        drop(others);
        buffer.write(b"a", &budget).unwrap();
    }

    #[test]
    fn earlier_writes_precede_received_bytes() {
        let mut buffer = BodyBuffer::empty(100);
        write(&mut buffer, b"guest ").unwrap();
        buffer.settle_written();
        buffer.push(Bytes::from_static(b"inner"), &BufferBudget::default()).unwrap();
        let mut buf = [0; 20];
        assert_eq!(buffer.read_whole(&mut buf), Read { len: 11, end: true });
        assert_eq!(&buf[..11], b"guest inner");
        assert!(!buffer.is_changed());
    }
}

//! The body of a service's answer, held to the length that its head says: one that is cut short is not to
//! look whole, whatever a guest has made of that head.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::message::body_buffer::BoxError;
use crate::message::framing;

pub(crate) struct LengthChecked<B> {
    body: Pin<Box<B>>,
    /// Bytes to come, where that is known.
    due: Option<u64>,
}

impl<B: Body> LengthChecked<B> {
    /// A body with this head. Without one of its own, as of an answer to HEAD, what the head says is not about
    /// it.
    pub(crate) fn new(body: B, head: &HeaderMap, bodiless: bool) -> Self {
        let due = framing::length(head).or_else(|| body.size_hint().exact()).filter(|_| !bodiless);
        Self { body: Box::pin(body), due }
    }

    /// Whether all bytes have come, and that was known before.
    pub(crate) fn is_all(&self) -> bool {
        self.due == Some(0)
    }

    fn is_short(&self) -> bool {
        self.due.is_some_and(|due| due > 0)
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for LengthChecked<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(polled) = ready!(self.body.as_mut().poll_frame(cx)) else {
            let short = self.is_short();
            self.due = None;
            return Poll::Ready(short.then(|| Err(WrongLength.into())));
        };
        let frame = polled.map_err(Into::into)?;
        if let Some(due) = self.due {
            // Trailers come after all of it.
            let len = frame.data_ref().map_or(due, |data| data.len() as u64);
            match due.checked_sub(len) {
                Some(left) if frame.is_data() || due == 0 => self.due = Some(left),
                _ => return Poll::Ready(Some(Err(WrongLength.into()))),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        !self.is_short() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // The head's word is the one that it is held to.
        self.due.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}

/// A body is longer or shorter than its head says.
#[derive(Debug)]
struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is not as long as its content-length says")
    }
}

impl std::error::Error for WrongLength {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::executor::block_on;
    use http::HeaderMap;
    use http::header::CONTENT_LENGTH;
    use http_body::{Body as _, Frame};
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::LengthChecked;

    fn head(length: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, http::HeaderValue::from_static(length))])
    }

    /// What comes of these pieces, with trailers, under a head with this length; `None`: an error.
    fn come(pieces: &[&'static str], head: &HeaderMap, bodiless: bool) -> Option<String> {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
        let frames = data.chain([Frame::trailers(HeaderMap::new())]).map(Ok::<_, Infallible>);
        let body = StreamBody::new(futures::stream::iter(frames));
        let all = block_on(LengthChecked::new(body, head, bodiless).collect()).ok()?;
        Some(String::from_utf8(all.to_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_body_is_as_long_as_its_head_says() {
        assert_eq!(come(&["ab", "c"], &head("3"), false).as_deref(), Some("abc"));
        assert_eq!(come(&["ab", "c"], &head("4"), false), None);
        assert_eq!(come(&["ab", "c"], &head("2"), false), None);
        assert_eq!(come(&[], &head("0"), false).as_deref(), Some(""));
        assert_eq!(come(&["ab"], &HeaderMap::new(), false).as_deref(), Some("ab"));
        assert_eq!(come(&[], &head("4"), true).as_deref(), Some(""), "as of an answer to HEAD");
    }

    #[test]
    fn a_wrong_end_of_stream_hint_is_ignored() {
        let mut body = LengthChecked::new(Full::new(Bytes::from("abc")), &head("4"), false);
        assert!(block_on(body.frame()).unwrap().is_ok());
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(1));
        assert!(block_on(body.frame()).unwrap().is_err());
        assert!(block_on(body.frame()).is_none(), "once");
    }

    #[test]
    fn a_body_is_held_to_its_known_length() {
        let mut body = LengthChecked::new(Full::new(Bytes::from("abc")), &HeaderMap::new(), false);
        assert!(!body.is_all());
        assert!(block_on(body.frame()).unwrap().is_ok());
        assert!(body.is_all() && body.is_end_stream());
    }
}

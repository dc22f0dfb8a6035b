//! The body of the response, as it goes on from a guest to the client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::message::body_buffer::BoxError;
use crate::message::content_length::LengthChecked;
use crate::message::forward::{Forward, Polled};
use crate::service::second_call::SecondCall;

/// What the client gets as the response's body.
///
/// While a guest is to be told when it ends, it holds that guest: dropping it before its end ends the
/// guest too. If the guest fails then, the body ends with an error, so that what the client has got does
/// not look whole.
pub struct ResponseBody<B>(Kind<B>);

enum Kind<B> {
    Own(Full<Bytes>),
    Forward(Forward<LengthChecked<B>>),
    Leased(Box<Leased<B>>),
}

impl<B> ResponseBody<B> {
    /// One that the host made.
    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self(Kind::Own(body))
    }

    /// One that no guest waits for.
    pub(crate) fn new(forward: Forward<LengthChecked<B>>) -> Self {
        Self(Kind::Forward(forward))
    }

    /// One whose end the guest is to be told.
    pub(crate) fn leased(forward: Forward<LengthChecked<B>>, second_call: SecondCall) -> Self {
        Self(Kind::Leased(Box::new(Leased { forward, state: State::Streaming(second_call) })))
    }
}

pub(crate) type Ending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A response body whose end a guest is to be told.
struct Leased<B> {
    forward: Forward<LengthChecked<B>>,
    state: State,
}

enum State {
    Streaming(SecondCall),
    /// The guest is being told; then comes this.
    Ending(Ending, Polled),
    /// The guest has been told. Where a content-length said that it was over, trailers may come.
    Told,
    Ended,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Leased<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Told => {
                    self.state = State::Told;
                    return self.forward.poll_frame(cx);
                }
                State::Streaming(mut second_call) => {
                    if let Some(error) = second_call.poll_lost(cx) {
                        return Poll::Ready(Some(Err(error)));
                    }
                    let Poll::Ready(polled) = self.forward.poll_frame(cx) else {
                        second_call.wait();
                        self.state = State::Streaming(second_call);
                        return Poll::Pending;
                    };
                    second_call.progress();
                    if !self.is_last(&polled) {
                        self.state = State::Streaming(second_call);
                        return Poll::Ready(polled);
                    }
                    let frame = polled.as_ref().and_then(|polled| polled.as_ref().ok());
                    let trailers = frame.and_then(Frame::trailers_ref).cloned();
                    let error = matches!(polled, Some(Err(_)));
                    self.state = State::Ending(second_call.end(error, trailers), polled);
                }
                State::Ending(mut ending, polled) => match ending.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Ending(ending, polled);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(())) => {
                        if matches!(&polled, Some(Ok(frame)) if frame.is_data()) {
                            self.state = State::Told;
                        }
                        return Poll::Ready(polled);
                    }
                    // The body's own error came first.
                    Poll::Ready(Err(_)) if matches!(polled, Some(Err(_))) => {
                        return Poll::Ready(polled);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                },
            }
        }
    }

    /// Whether nothing is asked for after this: a server with a content-length in hand does not ask
    /// whether there is more.
    fn is_last(&self, polled: &Polled) -> bool {
        let Some(Ok(frame)) = polled else { return true };
        let Forward { chunks, rest, trailers } = &self.forward;
        let is_over = |rest: &LengthChecked<B>| rest.is_all() || rest.is_end_stream();
        // With trailers of the guest's, it does ask.
        let is_all = trailers.known().is_empty() && rest.as_ref().is_none_or(is_over);
        !frame.is_data() || chunks.is_empty() && is_all
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Forward(forward) => forward.poll_frame(cx),
            Kind::Leased(leased) => leased.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(body) => body.is_end_stream(),
            Kind::Forward(forward) => forward.is_end_stream(),
            // Not before the guest has been told.
            Kind::Leased(leased) => match leased.state {
                State::Streaming(_) | State::Ending(..) => false,
                State::Told => leased.forward.is_end_stream(),
                State::Ended => true,
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(body) => body.size_hint(),
            Kind::Forward(forward) => forward.size_hint(),
            Kind::Leased(leased) => match &leased.state {
                State::Streaming(_) | State::Told => leased.forward.size_hint(),
                State::Ending(_, Some(Ok(frame))) => {
                    SizeHint::with_exact(frame.data_ref().map_or(0, Bytes::len) as u64)
                }
                State::Ending(..) | State::Ended => SizeHint::with_exact(0),
            },
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}

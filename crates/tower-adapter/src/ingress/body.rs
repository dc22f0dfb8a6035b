//! A body whose trailers say nothing that they may not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::field::Field;

pin_project! {
    /// The body of a request that has passed the ingress, or of a response on its way back.
    #[derive(Debug)]
    pub struct IngressBody<B> {
        #[pin]
        body: B,
        strip: Strip,
    }
}

/// What its trailers lose.
#[derive(Debug)]
enum Strip {
    /// What counts in a head only.
    ForHeads,
    /// These.
    Named(Arc<[HeaderName]>),
    Nothing,
}

impl<B> IngressBody<B> {
    pub(super) fn of_request(body: B) -> Self {
        Self { body, strip: Strip::ForHeads }
    }

    /// `names`: what goes.
    pub(super) fn of_response(body: B, names: Option<Arc<[HeaderName]>>) -> Self {
        Self { body, strip: names.map_or(Strip::Nothing, Strip::Named) }
    }
}

impl Strip {
    fn strip(&self, trailers: &mut HeaderMap) {
        match self {
            Self::ForHeads => {
                let names: Vec<_> =
                    trailers.keys().filter(|name| Field::is_for_heads(name)).cloned().collect();
                for name in names {
                    trailers.remove(name);
                }
            }
            Self::Named(names) => {
                for name in &**names {
                    trailers.remove(name);
                }
            }
            Self::Nothing => {}
        }
    }
}

impl<B: Body> Body for IngressBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut frame = ready!(this.body.poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            this.strip.strip(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

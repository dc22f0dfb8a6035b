//! The upstream's response body, which holds the request's seat until it has ended.
//!
//! A client that stops reading would hold the seat for as long as it likes. So a body that has more to give is cut if
//! the client does not ask for it within [`STALL`]: the upstream's connection closes, the seat is free, and what the
//! client has got does not look whole. The upstream may take its time to send more: an event stream is fine.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::limit::Seat;
use crate::error::BoxError;

/// How long a client may leave a body unread: as long as in a pool.
const STALL: Duration = Duration::from_secs(30);

pub(crate) struct StallGuard<B = Incoming> {
    state: Arc<Mutex<State<B>>>,
    /// The task that cuts the body; `None` if the body has nothing to give.
    watch: Option<AbortHandle>,
}

struct State<B> {
    /// `None` once it has been cut, or has ended.
    open: Option<(B, Seat)>,
    /// Since when the client has not asked for the next frame; `None` while it waits for one.
    left_alone: Option<Instant>,
    cut: bool,
}

/// Why a body broke off.
#[derive(Debug)]
struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has stopped reading")
    }
}

impl std::error::Error for Stalled {}

impl<B: Body + Send + 'static> StallGuard<B> {
    pub(crate) fn new(body: B, seat: Seat) -> Self {
        let watched = !body.is_end_stream();
        let left_alone = watched.then(Instant::now);
        let state = State { open: Some((body, seat)), left_alone, cut: false };
        let state = Arc::new(Mutex::new(state));
        let watch = watched.then(|| tokio::spawn(watch(Arc::clone(&state))).abort_handle());
        Self { state, watch }
    }
}

/// Cuts the body once the client has left it unread for too long.
async fn watch<B>(state: Arc<Mutex<State<B>>>) {
    loop {
        let since = lock(&state).left_alone;
        // A client that waits now may stop reading at any moment.
        let deadline = since.unwrap_or_else(Instant::now) + STALL;
        tokio::time::sleep_until(deadline).await;
        let mut state = lock(&state);
        if state.left_alone.is_some_and(|since| since + STALL <= Instant::now()) {
            state.cut = true;
            state.open = None;
            return;
        }
    }
}

impl<B> Body for StallGuard<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let state = &mut *lock(&self.state);
        let Some((body, _)) = &mut state.open else {
            let cut = std::mem::take(&mut state.cut);
            return Poll::Ready(cut.then(|| Err(Stalled.into())));
        };
        state.left_alone = None;
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Poll::Pending };
        let goes_on = matches!(frame, Some(Ok(_))) && !body.is_end_stream();
        if goes_on {
            state.left_alone = Some(Instant::now());
        } else {
            state.open = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        state.open.as_ref().map_or(!state.cut, |(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        state.open.as_ref().map_or(SizeHint::default(), |(body, _)| body.size_hint())
    }
}

impl<B> Drop for StallGuard<B> {
    fn drop(&mut self) {
        // At once: the watch goes when it gets its turn.
        lock(&self.state).open = None;
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl<B> fmt::Debug for StallGuard<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StallGuard")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

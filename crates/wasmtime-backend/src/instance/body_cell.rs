//! A response body between the store that makes it and its reader.
//!
//! wasmtime's own bodies end cleanly when their store is dropped in the middle. So before a store is
//! dropped, what its open bodies still hold is *buffered*, and a body that had not ended by then ends
//! with an error.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use millpond_engine::lock;
use millpond_pool_core::cell::store_waker;
use wasmtime_wasi_http::WasiBody;

/// Frames that are saved from a store that ends. wasmtime's own channels hold two or three; a body
/// that has more to give comes from elsewhere, perhaps without end.
const MAX_SAVED: usize = 64;

/// Why a response body broke off.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// The instance ended in the middle of it.
    CutShort,
    /// The guest sent more bytes than it had announced.
    TooLong,
    /// The guest ended it before it sent as many bytes as it had announced.
    TooShort,
    /// The guest gave it up, or sent fewer bytes than it had announced.
    Guest(wasmtime_wasi_http::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort => f.write_str("the instance ended in the middle of the body"),
            Self::TooLong => f.write_str("the guest sent more than its content-length"),
            Self::TooShort => f.write_str("the guest sent less than its content-length"),
            Self::Guest(_) => f.write_str("the guest gave up the body"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::CutShort | Self::TooLong | Self::TooShort => None,
            Self::Guest(error) => Some(error),
        }
    }
}

/// A body that is shared between its reader and the task that drops the store.
pub(crate) struct BodyCell {
    body: Mutex<BodyState>,
}

struct BodyState {
    /// `None` once it has ended or has been buffered.
    inner: Option<WasiBody>,
    /// What was buffered.
    saved: VecDeque<Result<Frame<Bytes>, BodyError>>,
    /// It was buffered before it ended.
    cut: bool,
    /// Of the reader that last found nothing: the store may end without waking it.
    waker: Option<Waker>,
}

impl BodyCell {
    pub(crate) fn new(inner: WasiBody) -> Arc<Self> {
        let saved = VecDeque::new();
        let state = BodyState { inner: Some(inner), saved, cut: false, waker: None };
        Arc::new(Self { body: Mutex::new(state) })
    }

    pub(crate) fn poll(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = lock(&self.body);
        let polled = state.poll(cx);
        let old = if polled.is_pending() { store_waker(&mut state.waker, cx) } else { None };
        drop(state);
        drop(old);
        polled
    }

    /// Takes out what the body holds, as long as its store is alive: after this it ends, well or
    /// badly, without the store.
    pub(crate) fn buffer_remaining(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut state = lock(&self.body);
        let mut saved = VecDeque::new();
        loop {
            match state.poll(&mut cx) {
                Poll::Ready(Some(frame)) if saved.len() < MAX_SAVED => saved.push_back(frame),
                Poll::Ready(None) => break,
                Poll::Ready(Some(_)) | Poll::Pending => {
                    state.inner = None;
                    state.cut = true;
                    break;
                }
            }
        }
        state.saved = saved;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.body).inner.is_none()
    }
}

impl BodyState {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.saved.pop_front() {
            return Poll::Ready(Some(frame));
        }
        while let Some(inner) = &mut self.inner {
            match Pin::new(inner).poll_frame(cx) {
                // Empty frames say nothing and pile up unread in front of a slow client.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(error))) => {
                    self.inner = None;
                    return Poll::Ready(Some(Err(BodyError::Guest(error))));
                }
                Poll::Ready(None) => self.inner = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        if std::mem::take(&mut self.cut) {
            return Poll::Ready(Some(Err(BodyError::CutShort)));
        }
        Poll::Ready(None)
    }
}

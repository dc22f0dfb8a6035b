//! The response body: what the guest sends, on its way to the client.
//!
//! It holds the request's seat to its end, drives the guest if no worker does, and knows whether
//! it came to an honest end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use millpond_pool_core::{Instance, Submitted};
use millpond_tower_adapter::response::PROXY_STATUS;

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::body_cell::{BodyCell, BodyError};
use crate::instance::slot::{self, Helper};

/// The body of a guest's response.
///
/// Dropping it before its end stops the guest, unless other requests share it.
pub struct ResponseBody<H: Host> {
    cell: Arc<BodyCell>,
    submitted: Submitted<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    /// The run of the guest that makes it.
    run: u64,
    /// Bytes still to come, where a content-length says so.
    remaining: Option<u64>,
    /// Whether no byte of it will be sent: HEAD, 204, 304.
    head_only: bool,
    ended: bool,
}

impl<H: Host> ResponseBody<H> {
    pub(crate) fn new(
        cell: Arc<BodyCell>,
        submitted: Submitted<WasmDriver<H>>,
        (instance, run): (Instance<WasmDriver<H>>, u64),
        content_length: Option<u64>,
        head_only: bool,
    ) -> Self {
        Self { cell, submitted, instance, run, remaining: content_length, head_only, ended: false }
    }

    fn end(&mut self) {
        self.ended = true;
        self.submitted.ended(self.instance.id());
    }

    /// Looks at what goes to the client.
    fn pass(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let ends = match &frame {
            None => true,
            Some(frame) => frame.as_ref().is_ok_and(|frame| !frame.is_data()),
        };
        if ends && self.remaining.is_some_and(|remaining| remaining > 0) {
            // HTTP/2 would end the stream, and it would look whole.
            return self.last(Some(Err(BodyError::TooShort)));
        }
        let Some(Ok(mut frame)) = frame else { return self.last(frame) };
        let Some(data) = frame.data_ref() else {
            if let Some(trailers) = frame.trailers_mut() {
                trailers.remove(PROXY_STATUS);
            }
            // Nothing comes after trailers.
            return self.last(Some(Ok(frame)));
        };
        if let Some(remaining) = self.remaining {
            // HTTP/1 would cut it off at the announced length, and look whole.
            let Some(less) = remaining.checked_sub(data.len() as u64) else {
                return self.last(Some(Err(BodyError::TooLong)));
            };
            self.remaining = Some(less);
        }
        self.submitted.progress(self.instance.id());
        Some(Ok(frame))
    }

    fn last<T>(&mut self, frame: T) -> T {
        self.end();
        self.finish_in_background();
        frame
    }

    /// Whether all that the client will get of it has been sent.
    fn is_complete(&self) -> bool {
        self.ended || self.head_only || self.remaining == Some(0)
    }
}

impl<H: Host> Body for ResponseBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.ended && self.head_only {
            self.end();
            self.finish_in_background();
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = {
            let helper = Helper::new(self.submitted.pool(), &self.instance, self.run);
            let mut frame = self.cell.poll(cx);
            if frame.is_pending() {
                // Done or not, the guest may have sent something.
                helper.drive(cx);
                frame = self.cell.poll(cx);
            }
            frame
        };
        frame.map(|frame| self.pass(frame))
    }

    fn is_end_stream(&self) -> bool {
        // Only what has been seen to end has ended: the guest's body does not know whether its
        // store is alive.
        self.ended || self.head_only
    }

    fn size_hint(&self) -> SizeHint {
        match self.remaining {
            Some(remaining) => SizeHint::with_exact(remaining),
            None => SizeHint::default(),
        }
    }
}

impl<H: Host> ResponseBody<H> {
    /// Spawns a task that drives the guest on: it may have more to do. The task takes the frames
    /// that the client will not read, so that the guest can finish.
    fn finish_in_background(&self) {
        let (pool, instance) = (self.submitted.pool().clone(), self.instance.clone());
        let cell = Arc::clone(&self.cell);
        if cell.is_over() && (instance.slot().is_shared() || !instance.slot().is_running(self.run))
        {
            return;
        }
        let rest = slot::drive_with(pool, instance.clone(), self.run, move |cx, run| {
            while let Poll::Ready(frame) = cell.poll(cx) {
                if !matches!(frame, Some(Ok(_))) {
                    // Nothing to take any more; the guest may still work.
                    return if instance.slot().is_shared() { Poll::Ready(()) } else { run(cx) };
                }
            }
            if instance.slot().is_shared() { Poll::Pending } else { run(cx) }
        });
        self.submitted.pool().driver().spawn(rest);
    }
}

impl<H: Host> Drop for ResponseBody<H> {
    fn drop(&mut self) {
        // Otherwise the caller went away: the drop of `submitted` says so to the pool.
        if !self.ended && self.is_complete() {
            self.end();
            self.finish_in_background();
        }
    }
}

impl<H: Host> fmt::Debug for ResponseBody<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("instance", &self.instance.id())
            .field("remaining", &self.remaining)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

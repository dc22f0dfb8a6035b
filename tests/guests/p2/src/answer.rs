//! Answers and their bodies, and the little that is needed of time.

use std::io::{self, Write};

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// Header fields which a route sets.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// The body of an answer whose head is on its way.
pub(crate) struct Body {
    // Before `body`: a stream is a child of its body and has to be dropped first.
    stream: OutputStream,
    body: OutgoingBody,
}

/// Sends the head of an answer; the body follows.
pub(crate) fn start(out: ResponseOutparam, status: u16, headers: Headers<'_>) -> Body {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header which is allowed");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    Body { stream, body }
}

/// Sends a complete answer.
pub(crate) fn text(out: ResponseOutparam, status: u16, text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut body = start(out, status, &[("content-type", "text/plain; charset=utf-8")]);
    body.write(text.as_ref())?;
    body.finish(None)
}

impl Body {
    /// Writes and flushes. An error means that the client does not want the rest.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.blocking_flush().map_err(io::Error::other)
    }

    /// A write of no bytes at all, which the interface allows. Not without a permit, though.
    pub(crate) fn write_nothing(&mut self) -> io::Result<()> {
        while self.stream.check_write().map_err(io::Error::other)? == 0 {
            self.stream.subscribe().block();
        }
        OutputStream::write(&self.stream, &[]).map_err(io::Error::other)
    }

    /// Passes on everything from `input`.
    pub(crate) fn copy(&mut self, input: &InputStream) -> io::Result<()> {
        while let Some(chunk) = read(input)? {
            self.write(&chunk)?;
        }
        Ok(())
    }

    /// Ends the body properly.
    pub(crate) fn finish(self, trailers: Option<Trailers>) -> io::Result<()> {
        let Body { stream, body } = self;
        drop(stream);
        OutgoingBody::finish(body, trailers).map_err(io::Error::other)
    }

    /// Drops the body unfinished, which tells the host that it is broken.
    pub(crate) fn abort(self) {}
}

/// The next chunk of a body, or `None` at its end.
pub(crate) fn read(input: &InputStream) -> io::Result<Option<Vec<u8>>> {
    match input.blocking_read(64 * 1024) {
        Ok(chunk) => Ok(Some(chunk)),
        Err(StreamError::Closed) => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Sleeps; wasi:http 0.2 has no other way than to block the instance meanwhile.
pub(crate) fn sleep(ms: u64) {
    monotonic_clock::subscribe_duration(ms.saturating_mul(1_000_000)).block();
}

/// Sleeps without end.
pub(crate) fn sleep_for_ever() -> ! {
    loop {
        sleep(24 * 60 * 60 * 1000);
    }
}

/// Keeps the processor busy, for ever without `ms`.
pub(crate) fn spin(ms: Option<u64>) {
    let start = monotonic_clock::now();
    loop {
        // Many turns for each look at the clock: calls into the host would be chances for it to
        // notice, and the point is a guest which gives none.
        for turn in 0..100_000_u32 {
            std::hint::black_box(turn);
        }
        if let Some(ms) = ms
            && monotonic_clock::now() - start >= ms.saturating_mul(1_000_000)
        {
            return;
        }
    }
}

//! Answers and their bodies, and the little that is needed of time.
//!
//! In wasi:http 0.3 the head of an answer is what the handler returns, so everything that writes a
//! body goes on in a spawned task after that.

use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Response, Trailers};
use wasip3::wit_bindgen::{FutureWriter, StreamReader, StreamResult, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

/// Header fields which a route sets.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// The body is not read any more: there is no point in going on.
pub(crate) struct Gone;

/// What stands after a body.
pub(crate) type End = Result<Option<Trailers>, ErrorCode>;

/// The body of an answer whose head is on its way.
pub(crate) struct Body {
    stream: StreamWriter<u8>,
    end: FutureWriter<End>,
}

/// An answer whose body is written by `produce`, concurrently to everything else.
pub(crate) fn stream<F>(status: u16, headers: Headers<'_>, produce: F) -> Response
where
    F: AsyncFnOnce(Body) -> Result<(), Gone> + 'static,
{
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header which is allowed");
    }
    let (stream, contents) = wit_stream::new();
    // The default stands for a producer which stopped half way.
    let (end, trailers) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, _transmitted) = Response::new(fields, Some(contents), trailers);
    response.set_status_code(status).expect("a valid status");
    spawn_local(async move {
        // Gone is no failure of ours, and the host knows already.
        let _ = produce(Body { stream, end }).await;
    });
    response
}

/// A complete answer.
pub(crate) fn text(status: u16, text: impl Into<Vec<u8>>) -> Response {
    let text = text.into();
    let headers = [("content-type", "text/plain; charset=utf-8")];
    stream(status, &headers, async move |mut body| {
        body.write(text).await?;
        body.finish(None).await
    })
}

impl Body {
    /// Writes all of it; done when the host has taken it.
    pub(crate) async fn write(&mut self, bytes: impl Into<Vec<u8>>) -> Result<(), Gone> {
        let rest = self.stream.write_all(bytes.into()).await;
        if rest.is_empty() { Ok(()) } else { Err(Gone) }
    }

    /// A write of no bytes at all, which the component model allows.
    pub(crate) async fn write_nothing(&mut self) -> Result<(), Gone> {
        match self.stream.write(Vec::new()).await {
            (StreamResult::Dropped, _) => Err(Gone),
            _ => Ok(()),
        }
    }

    /// Passes on everything from `input`.
    pub(crate) async fn copy(&mut self, input: &mut StreamReader<u8>) -> Result<(), Gone> {
        while let Some(chunk) = read(input).await {
            self.write(chunk).await?;
        }
        Ok(())
    }

    /// Ends the body properly.
    pub(crate) async fn finish(self, trailers: Option<Trailers>) -> Result<(), Gone> {
        self.end(Ok(trailers)).await
    }

    /// Ends the body with trailers or an error.
    pub(crate) async fn end(self, end: End) -> Result<(), Gone> {
        let Body { stream, end: writer } = self;
        // First, as the host asks for the end only when the stream has ended.
        drop(stream);
        writer.write(end).await.map_err(|_| Gone)
    }
}

/// The next chunk of a body, or `None` at its end.
pub(crate) async fn read(input: &mut StreamReader<u8>) -> Option<Vec<u8>> {
    loop {
        match input.read(Vec::with_capacity(64 * 1024)).await {
            (_, chunk) if !chunk.is_empty() => return Some(chunk),
            (StreamResult::Complete(_), _) => {}
            _ => return None,
        }
    }
}

/// Sleeps; other requests to this instance go on meanwhile.
pub(crate) async fn sleep(ms: u64) {
    monotonic_clock::wait_for(ms.saturating_mul(1_000_000)).await;
}

/// Sleeps without end.
pub(crate) async fn sleep_for_ever() -> ! {
    loop {
        sleep(24 * 60 * 60 * 1000).await;
    }
}

/// Keeps the processor busy, for ever without `ms`. Nothing else in this instance goes on.
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

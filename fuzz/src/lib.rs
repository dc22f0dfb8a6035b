//! What fuzzers run: for each target a function of bytes, which panics if a promise is broken.
//!
//! The binaries beside this give it to libFuzzer, and the tests run what is in `corpus/`: the inputs that fuzzers
//! begin with, and those with which one found something.

mod config;
mod guest;
mod http;
mod http_wasm;
mod input;
mod wit;

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use millpond::Snapshot;

pub use config::config;
pub use guest::guest;
pub use http::http;
pub use http_wasm::http_wasm;
pub use wit::wit;

/// In virtual time. All timeouts together are shorter.
const PATIENCE: Duration = Duration::from_secs(600);

/// A runtime of one thread in which time is virtual: it passes when nothing else is to be done.
fn runtime(io: bool) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    if io {
        builder.enable_io();
    }
    builder.enable_time().build().expect("a runtime")
}

/// The body of a request, or of what is behind.
type AnyBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A body as a client has it in the end.
struct Whole {
    bytes: Vec<u8>,
    trailers: Option<::http::HeaderMap>,
    /// It broke off.
    broken: bool,
}

/// Reads a body to its end.
async fn whole<B: Body<Data = Bytes>>(body: B) -> Whole {
    let mut whole = Whole { bytes: Vec::new(), trailers: None, broken: false };
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            whole.broken = true;
            break;
        };
        match frame.into_data() {
            Ok(data) => whole.bytes.extend_from_slice(&data),
            Err(frame) => whole.trailers = frame.into_trailers().ok(),
        }
    }
    whole
}

/// Waits until a pool works on nothing, and holds its books against what must be.
async fn comes_to_rest(snapshot: impl Fn() -> Snapshot) {
    let rest = async {
        loop {
            let now = snapshot();
            assert_eq!(now.unaccounted(), 0, "conservation: {now:?}");
            let gauges =
                [now.queued, now.starting, now.busy, now.pinned, now.streaming, now.abandoned];
            if gauges == [0; 6] && now.instances.live() == now.instances.idle {
                let outcomes = now.responded + now.failed + now.refused + now.cancelled;
                assert_eq!(outcomes, now.submitted, "{now:?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, rest).await.is_err() {
        panic!("it does not come to rest: {:?}", snapshot());
    }
}

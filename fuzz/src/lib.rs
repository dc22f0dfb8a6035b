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

/// The type-erased body of a request, or of the response of the service behind.
type DynBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

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

/// Whether a response is the host's own. One that says that the host panicked is a finding.
fn is_ours(head: &::http::HeaderMap) -> bool {
    head.get_all("proxy-status").iter().map(|value| value.as_bytes()).any(|value| {
        assert!(!value.ends_with(b"\"host panic\""), "the host panicked");
        value.starts_with(b"millpond;")
    })
}

/// Waits until a pool works on nothing, and checks that its counts add up.
async fn comes_to_rest(snapshot: impl Fn() -> Snapshot) {
    let rest = async {
        let mut pause = Duration::from_millis(1);
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
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    };
    if tokio::time::timeout(PATIENCE, rest).await.is_err() {
        panic!("it does not come to rest: {:?}", snapshot());
    }
}

#[cfg(test)]
mod tests {
    /// What fuzzers found, and what they begin with.
    fn replay(target: &str, run: fn(&[u8])) {
        let corpus = format!("{}/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            run(&std::fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0);
    }

    #[test]
    fn the_corpus_of_http_breaks_nothing() {
        replay("http", super::http);
    }

    #[test]
    fn the_corpus_of_guest_breaks_nothing() {
        replay("guest", super::guest);
    }

    #[test]
    fn the_corpus_of_config_breaks_nothing() {
        replay("config", super::config);
    }

    #[test]
    fn the_corpus_of_http_wasm_breaks_nothing() {
        replay("http-wasm", super::http_wasm);
    }

    #[test]
    fn the_corpus_of_wit_breaks_nothing() {
        replay("wit", super::wit);
    }
}

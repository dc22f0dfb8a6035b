//! What an http-wasm guest calls, in front of a service that is not always kind: the calls are spelled in headers, for
//! the test guest.

mod behind;
mod script;

use std::sync::{Mutex, OnceLock, PoisonError};

use ::http::Request;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use millpond::http_wasm::{HttpWasmLayer, HttpWasmPool, Output};
use tokio::runtime::Runtime;
use tower::{Layer as _, ServiceExt as _};

use crate::input::Input;
use crate::{DynBody, comes_to_rest, is_ours, whole};
use behind::Behind;
use script::Script;

struct Ground {
    runtime: Runtime,
    pool: HttpWasmPool,
}

impl Ground {
    fn new() -> Self {
        let runtime = crate::runtime(false);
        let pool = runtime.block_on(async {
            let builder = HttpWasmPool::builder()
                .limits(|limits| limits.max_instances = 4)
                .max_memory(4 << 20)
                .max_body(100_000)
                .config(*b"configured")
                .output(Output::None);
            let pool = builder.from_file(millpond_tests::guest_module()).await;
            tokio::time::pause();
            pool.expect("the test guest is a module")
        });
        Self { runtime, pool }
    }
}

/// Makes the calls, before and after the service behind.
///
/// # Panics
///
/// If the host does; if the pool's counts do not add up; if a body that broke off looks whole, to the client or to the service
/// behind; if the next request meets anything of this one.
pub fn http_wasm(data: &[u8]) {
    static GROUND: OnceLock<Mutex<Ground>> = OnceLock::new();
    let ground = GROUND.get_or_init(|| Mutex::new(Ground::new()));
    let ground = ground.lock().unwrap_or_else(PoisonError::into_inner);
    ground.runtime.block_on(pass(&ground.pool, data));
}

async fn pass(pool: &HttpWasmPool, data: &[u8]) {
    let mut input = Input(data);
    let (behind, body, leaves) = (Behind::from(input.byte()), input.byte(), input.byte());
    let script = Script::read(&mut input);
    let (body, breaks) = request_body(body);
    let request = Request::builder()
        .method(if behind.method == 0 { "HEAD" } else { "POST" })
        .uri("http://a/path?query")
        .header("host", "a")
        .header("x-request", &script.before)
        .header("x-response", &script.after)
        .body(body)
        .expect("a good request");
    let whole_request = !breaks || script.writes_requests;
    let service = HttpWasmLayer::new(pool.clone()).layer(behind.service(whole_request));
    let response = service.oneshot(request);
    let response = match leaves {
        // The client leaves while the guest or the service works.
        1..32 => {
            let gone = std::time::Duration::from_millis(leaves.into());
            tokio::time::timeout(gone, response).await.ok()
        }
        _ => Some(response.await),
    };
    if let Some(response) = response {
        let (head, body) = response.expect("infallible").into_parts();
        let ours = is_ours(&head.headers);
        if leaves == 32 {
            drop(body);
        } else {
            let whole = whole(body).await;
            let untouched = !script.writes_responses && !script.answers && !script.sets_status;
            if untouched && !ours && !whole.broken && behind.method != 0 {
                let expected = behind.body.expect("a body that breaks breaks");
                assert_eq!(
                    whole.bytes.escape_ascii().to_string(),
                    expected.escape_ascii().to_string()
                );
            }
            let length = head
                .headers
                .get("content-length")
                .filter(|_| behind.method != 0 && !script.sets_status);
            if let Some(length) = length
                && !whole.broken
                && !script.answers
            {
                assert_eq!(length.as_bytes(), whole.bytes.len().to_string().as_bytes(), "{head:?}");
            }
        }
    }
    comes_to_rest(|| pool.snapshot()).await;

    let request =
        Request::builder().uri("http://a/").header("host", "a").body(Full::<Bytes>::default());
    let service = HttpWasmLayer::new(pool.clone()).layer(Behind::from(64).service(true));
    let innocent = service.oneshot(request.expect("a good request")).await.expect("infallible");
    assert_eq!(innocent.status(), 200);
    assert!(!innocent.headers().contains_key("x-a"), "of another request: {innocent:?}");
    let innocent = whole(innocent.into_body()).await;
    assert_eq!((innocent.bytes.as_slice(), innocent.broken), (behind::PLAIN, false));
    comes_to_rest(|| pool.snapshot()).await;
}

/// A body, and whether it breaks.
fn request_body(byte: u8) -> (DynBody, bool) {
    let full = |len: usize| {
        Full::new(Bytes::from(vec![b'r'; len])).map_err(|never| match never {}).boxed_unsync()
    };
    match byte % 8 {
        0..3 => (full(0), false),
        3 => (full(5), false),
        4 => (full(90_000), false),
        5 => (full(200_000), false),
        6 => (pieces(&[b"one", b"two"], true, false), false),
        _ => (pieces(&[b"one", b"two"], false, true), true),
    }
}

/// A body of these pieces, each of which takes its time.
fn pieces(all: &'static [&'static [u8]], trailers: bool, breaks: bool) -> DynBody {
    let stream = futures::stream::unfold(0, move |n| async move {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let frame = match all.get(n) {
            Some(piece) => Ok(Frame::data(Bytes::from_static(piece))),
            None if n == all.len() && breaks => Err("it breaks".into()),
            None if n == all.len() && trailers => {
                let mut trailers = ::http::HeaderMap::new();
                trailers.insert("x-trailer", ::http::HeaderValue::from_static("1"));
                Ok(Frame::trailers(trailers))
            }
            None => return None,
        };
        Some((frame, n + 1))
    });
    let body = StreamBody::new(stream);
    debug_assert!(!body.is_end_stream());
    body.boxed_unsync()
}

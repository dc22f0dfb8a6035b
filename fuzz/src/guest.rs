//! What a wasi:http 0.2 guest calls: a header spells it, for a guest that is made for this.

mod near;

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use millpond::{InfallibleService, MaxRequests, Output, WasiHost, WasmPool};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::input::Input;
use crate::{DynBody, Whole, comes_to_rest, is_ours, whole};

struct Ground {
    runtime: Runtime,
    /// An instance for each request, and one for three.
    pools: [WasmPool; 2],
    near: SocketAddr,
}

impl Ground {
    fn new() -> Self {
        let runtime = crate::runtime(true);
        let _context = runtime.enter();
        let pools = [1, 3].map(|requests| {
            // Whatever a script spells, nothing leaves this machine.
            let loopback = "127.0.0.0/8".parse().expect("a range");
            let host = WasiHost::new().output(Output::None).max_memory(8 << 20);
            let host = host.allow_outbound(loopback);
            let builder = WasmPool::builder(host).limits(move |limits| {
                limits.max_instances = 4;
                limits.max_requests = MaxRequests::exactly(requests);
            });
            builder.from_file(env!("FUZZ_GUEST_P2")).expect("the guest is a component")
        });
        let near = runtime.block_on(near::serve());
        runtime.block_on(async { tokio::time::pause() });
        drop(_context);
        Self { runtime, pools, near }
    }
}

/// Makes the calls.
///
/// # Panics
///
/// If the host does; if the pool's counts do not add up; if a body that the guest did not finish looks whole.
pub fn guest(data: &[u8]) {
    static GROUND: OnceLock<Mutex<Ground>> = OnceLock::new();
    let ground = GROUND.get_or_init(|| Mutex::new(Ground::new()));
    let ground = ground.lock().unwrap_or_else(PoisonError::into_inner);
    ground.runtime.block_on(serve(&ground, data));
}

async fn serve(ground: &Ground, data: &[u8]) {
    let mut input = Input(data);
    let (how, leaves) = (input.byte(), input.byte());
    let pool = &ground.pools[usize::from(how & 1)];
    let script: String = input.0.iter().take(400).map(|byte| format!("{byte:02x}")).collect();
    let request = Request::post("http://a/")
        .header("host", "a")
        .header("x-script", script)
        .header("x-near", ground.near.to_string())
        .body(request_body(how >> 1))
        .expect("a good request");
    let response = InfallibleService::new(pool.clone()).oneshot(request);
    // The client leaves while the guest works, or after the head.
    let response = match leaves {
        1..32 => timeout(Duration::from_millis(leaves.into()), response).await.ok(),
        _ => Some(response.await),
    };
    if let Some(response) = response {
        let (head, body) = response.expect("infallible").into_parts();
        match leaves {
            32..40 => drop(body),
            _ => check(&head.headers, &whole(body).await),
        }
    }
    comes_to_rest(|| pool.snapshot()).await;
}

/// A body that looks whole is one.
fn check(head: &HeaderMap, body: &Whole) {
    if body.broken || is_ours(head) {
        return;
    }
    match head.get("content-length") {
        Some(length) => assert_eq!(length.as_bytes(), body.bytes.len().to_string().as_bytes()),
        // A guest that took no body has none to finish.
        None if body.bytes.is_empty() => {}
        None => {
            let done =
                body.trailers.as_ref().is_some_and(|trailers| trailers.contains_key("x-done"));
            assert!(
                done,
                "{} bytes that look whole, and the guest did not finish",
                body.bytes.len()
            );
        }
    }
}

fn request_body(byte: u8) -> DynBody {
    match byte % 6 {
        0 | 1 => Full::new(Bytes::from(vec![b'r'; usize::from(byte) * 1000]))
            .map_err(|never| match never {})
            .boxed_unsync(),
        kind => {
            let pieces = futures::stream::unfold(0, move |n| async move {
                sleep(Duration::from_millis(5)).await;
                let frame = match (n, kind) {
                    (0..3, _) => Ok(Frame::data(Bytes::from_static(b"piece"))),
                    (3, 2) => Err("it breaks".into()),
                    (3, 3) => std::future::pending().await,
                    (3, 4) => {
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-trailer", ::http::HeaderValue::from_static("1"));
                        Ok(Frame::trailers(trailers))
                    }
                    _ => return None,
                };
                Some((frame, n + 1))
            });
            StreamBody::new(pieces).boxed_unsync()
        }
    }
}

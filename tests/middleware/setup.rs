//! Guests, what is behind them, and requests that say what guests are to do.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use http_body_util::channel::{Channel, Sender};
use millpond::http_wasm::{HttpWasmBuilder, HttpWasmPool};
use millpond_tests::{Body, Client, Front, PATIENCE, Protocol, Reply, empty, guest_module, whole};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

/// A pool of the test guest: 8 instances.
pub(crate) async fn guests(
    change: impl FnOnce(HttpWasmBuilder) -> HttpWasmBuilder,
) -> HttpWasmPool {
    let builder = Front::builder().limits(|limits| limits.max_instances = 8);
    change(builder).from_file(guest_module()).await.expect("the test guest is a module")
}

/// The test guest in front of [`mirror`].
pub(crate) async fn mirrored() -> Front {
    Front::start(guests(|builder| builder).await, mirror()).await
}

/// A module in the text format with all imports and two pages of memory, to which this is added.
pub(crate) fn module(code: &str) -> String {
    let (mut imports, i32s) = (String::new(), |count| " i32".repeat(count));
    for (name, params, result) in [
        ("enable_features", 1, "i32"),
        ("get_config", 2, "i32"),
        ("log", 3, ""),
        ("log_enabled", 1, "i32"),
        ("get_header_names", 3, "i64"),
        ("get_header_values", 5, "i64"),
        ("set_header_value", 5, ""),
        ("add_header_value", 5, ""),
        ("remove_header", 3, ""),
        ("read_body", 3, "i64"),
        ("write_body", 3, ""),
        ("get_method", 2, "i32"),
        ("set_method", 2, ""),
        ("get_uri", 2, "i32"),
        ("set_uri", 2, ""),
        ("get_protocol_version", 2, "i32"),
        ("get_source_addr", 2, "i32"),
        ("get_status_code", 0, "i32"),
        ("set_status_code", 1, ""),
    ] {
        let params = i32s(params);
        let result = if result.is_empty() { String::new() } else { format!(" (result {result})") };
        imports +=
            &format!(r#"(import "http_handler" "{name}" (func ${name} (param{params}){result}))"#);
    }
    format!(r#"(module {imports} (memory (export "memory") 2) {code})"#)
}

/// What guests that let all pass add to [`module`].
pub(crate) const PASS: &str = r#"
    (func (export "handle_request") (result i64) (i64.const 1))
    (func (export "handle_response") (param i32 i32) nop)"#;

/// A pool of a module in the text format.
pub(crate) async fn wat(
    text: impl Into<String>,
    change: impl FnOnce(HttpWasmBuilder) -> HttpWasmBuilder,
) -> HttpWasmPool {
    let builder = Front::builder().without_cache().limits(|limits| limits.max_instances = 8);
    let pool = change(builder).from_bytes(text.into()).await;
    pool.unwrap_or_else(|error| panic!("{error}"))
}

/// Answers any request with what it saw of it, in JSON.
pub(crate) fn mirror() -> Router {
    Router::new().fallback(async |request: Request| {
        let (parts, body) = request.into_parts();
        let collected = body.collect().await;
        let (body, trailers) = match collected {
            Ok(collected) => {
                let trailers = collected.trailers().map(pairs);
                (Ok(collected.to_bytes()), trailers)
            }
            Err(error) => (Err(error.to_string()), None),
        };
        let mut seen = json!({
            "method": parts.method.as_str(),
            "uri": parts.uri.path_and_query().map(|path| path.as_str()),
            "headers": pairs(&parts.headers),
            "trailers": trailers,
        });
        match body {
            Ok(body) => {
                seen["len"] = body.len().into();
                seen["digest"] = digest(&body).to_string().into();
                if body.len() < 100 {
                    seen["body"] = String::from_utf8_lossy(&body).into();
                }
            }
            Err(error) => seen["error"] = error.into(),
        }
        Response::new(axum::body::Body::from(seen.to_string()))
    })
}

/// Answers any request with this text.
pub(crate) fn says(text: &'static str) -> Router {
    Router::new().fallback(async move || text)
}

pub(crate) fn pairs(headers: &HeaderMap) -> Value {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    headers.iter().map(pair).collect()
}

/// The values that [`mirror`] saw of a header.
pub(crate) fn mirrored_values(seen: &Value, name: &str) -> Vec<String> {
    let headers = seen["headers"].as_array().expect("headers");
    let of_name = headers.iter().filter(|pair| pair[0] == name);
    of_name.map(|pair| pair[1].as_str().expect("a value").to_owned()).collect()
}

/// As the guest's `digest`.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Bytes that differ from their neighbours.
pub(crate) fn noise(len: usize) -> Bytes {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

/// What the guest is to do, before the next handler and after it.
#[derive(Clone, Copy)]
pub(crate) struct Script<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl Script<'_> {
    pub(crate) fn on(self, request: http::request::Builder) -> http::request::Builder {
        let request = if self.0.is_empty() { request } else { request.header("x-request", self.0) };
        if self.1.is_empty() { request } else { request.header("x-response", self.1) }
    }

    /// GET of the root.
    pub(crate) async fn get(self, client: &mut Client) -> Reply {
        self.send(client, |request| request, empty()).await
    }

    pub(crate) async fn send(
        self,
        client: &mut Client,
        change: impl FnOnce(http::request::Builder) -> http::request::Builder,
        body: Body,
    ) -> Reply {
        let request = change(self.on(client.request("/"))).body(body).expect("a good request");
        whole(client.send(request).await.expect("a response")).await
    }
}

/// What the first half put out.
pub(crate) fn out(reply: &Reply) -> &str {
    header(reply, "x-out")
}

/// What the second half put out, if it has told.
pub(crate) fn back(reply: &Reply) -> &str {
    header(reply, "x-back")
}

#[track_caller]
pub(crate) fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    let value = reply.headers.get(name);
    value.unwrap_or_else(|| panic!("no {name}: {reply:?}")).to_str().expect("text")
}

/// What [`mirror`] saw.
#[track_caller]
pub(crate) fn seen(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

/// Asserts what a failure looks like to a client.
#[track_caller]
pub(crate) fn assert_failure(reply: &Reply, status: u16, error: &str, details: &str) {
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    let expected = format!("millpond; error={error}; details=\"{details}\"");
    assert_eq!(header(reply, "proxy-status"), expected);
    assert_eq!(reply.text(), format!("{details}\n"), "nothing but this reaches the client");
    assert!(!reply.broken);
}

#[track_caller]
pub(crate) fn assert_trap(reply: &Reply) {
    assert_failure(reply, 500, "proxy_internal_error", "guest trapped");
}

pub(crate) type Stream = Sender<Bytes, std::io::Error>;

/// Answers with bodies that the test sends.
pub(crate) fn streams() -> (Router, mpsc::UnboundedReceiver<Stream>) {
    let (senders, receiver) = mpsc::unbounded_channel();
    let app = Router::new().fallback(async move || {
        let (sender, body) = Channel::new(1);
        senders.send(sender).expect("the test waits for it");
        axum::body::Body::new(body)
    });
    (app, receiver)
}

/// The body of the next response.
pub(crate) async fn next(streams: &mut mpsc::UnboundedReceiver<Stream>) -> Stream {
    let stream = tokio::time::timeout(PATIENCE, streams.recv()).await;
    stream.expect("a request in good time").expect("a request")
}

/// Sends a piece, and ends the body after it.
pub(crate) async fn finish(mut stream: Stream, piece: &'static str) {
    stream.send_data(Bytes::from_static(piece.as_bytes())).await.expect("a reader");
}

/// Sends a request, and waits for the head and the first piece of its response.
pub(crate) async fn begin(
    front: &Front,
    client: &mut Client,
    streams: &mut mpsc::UnboundedReceiver<Stream>,
    script: Script<'_>,
) -> (Stream, http::Response<hyper::body::Incoming>) {
    let request = script.on(client.request("/")).body(empty()).expect("a good request");
    let (response, stream) = tokio::join!(client.send(request), async {
        let mut stream = next(streams).await;
        front.until("it streams", |now| now.streaming == 1).await;
        stream.send_data(Bytes::from_static(b"one ")).await.expect("a reader");
        stream
    });
    (stream, response.expect("a head"))
}

/// A handler that answers when the test lets it.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    /// It has answered nothing yet.
    pub(crate) fn closed() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    pub(crate) fn app(&self) -> Router {
        let gate = self.clone();
        Router::new().fallback(async move || {
            gate.pass().await;
            "through\n"
        })
    }

    /// Counts a request, without waiting.
    pub(crate) fn come(&self) {
        self.0.0.add_permits(1);
    }

    pub(crate) async fn pass(&self) {
        self.come();
        self.0.1.acquire().await.expect("it is not closed for good").forget();
    }

    /// Waits until so many have come since this was asked last.
    pub(crate) async fn until_come(&self, count: u32) {
        let come = tokio::time::timeout(PATIENCE, self.0.0.acquire_many(count));
        come.await.expect("they come").expect("it is not closed for good").forget();
    }

    /// Lets so many answer.
    pub(crate) fn open(&self, count: usize) {
        self.0.1.add_permits(count);
    }
}

/// A request that goes on while the test does something else.
pub(crate) struct Sent(JoinHandle<Reply>);

impl Sent {
    /// GET of the root, HTTP/1.1, on a connection of its own.
    pub(crate) fn get(addr: SocketAddr, script: Script<'_>) -> Self {
        Self::get_over(addr, Protocol::Http1, script)
    }

    pub(crate) fn get_over(addr: SocketAddr, protocol: Protocol, script: Script<'_>) -> Self {
        let (request, response) = (script.0.to_owned(), script.1.to_owned());
        Self(tokio::spawn(async move {
            let script = Script(&request, &response);
            script.get(&mut Client::connect(addr, protocol).await).await
        }))
    }

    /// The answer.
    pub(crate) async fn reply(self) -> Reply {
        let reply = tokio::time::timeout(PATIENCE, self.0).await;
        reply.expect("an answer in good time").expect("the request's task does not panic")
    }

    /// The client closes its connection.
    pub(crate) fn leave(self) {
        self.0.abort();
    }
}

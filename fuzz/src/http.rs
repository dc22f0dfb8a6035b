//! A client's bytes, HTTP/1.1 or HTTP/2 or neither, on one connection, and an innocent one beside it.

use std::convert::Infallible;
use std::sync::Once;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, Full, StreamBody};
use millpond_cli::fuzzing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::{DynBody, PATIENCE};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a socket holds of what was not read.
const SOCKET: usize = 16 * 1024;

/// Sends bytes as they are. The first of them say how.
///
/// # Panics
///
/// If the server does, or if it holds the connection for ever, or if it does not serve others meanwhile and after that.
pub fn http(data: &[u8]) {
    let [how, piece, bytes @ ..] = data else { return };
    static H2: Once = Once::new();
    H2.call_once(pass_over_known);
    crate::runtime(false).block_on(async {
        tokio::time::pause();
        let (client, server) = tokio::io::duplex(SOCKET);
        let (tell, told) = watch::channel(());
        let connection = tokio::spawn(fuzzing::connection(server, service(), told));
        let bytes = if how & 2 != 0 { [PREFACE, bytes].concat() } else { bytes.to_vec() };
        let piece = if how & 4 != 0 { 1 + usize::from(*piece) } else { bytes.len().max(1) };
        let client = tokio::spawn(hostile(client, bytes, piece, *how));
        assert_innocent_is_served().await;
        if how & 32 != 0 {
            sleep(Duration::from_millis(u64::from(*how))).await;
            drop(tell);
            assert_ends(connection).await;
        } else {
            assert_ends(connection).await;
            drop(tell);
        }
        client.abort();
        assert_innocent_is_served().await;
    });
}

/// Sends, and reads what comes until the server closes.
async fn hostile(client: DuplexStream, bytes: Vec<u8>, piece: usize, how: u8) {
    let (mut reader, mut writer) = tokio::io::split(client);
    let sends = async {
        for (index, piece) in bytes.chunks(piece).enumerate() {
            if writer.write_all(piece).await.is_err() {
                return;
            }
            if how & 8 != 0 && index < 200 {
                sleep(Duration::from_millis(300)).await;
            }
        }
        if how & 1 != 0 {
            let _ = writer.shutdown().await;
        }
        if how & 16 == 0 {
            // It sends nothing more, and stays.
            std::future::pending::<()>().await;
        }
    };
    let reads = async {
        let mut buf = [0; 4096];
        while let Ok(1..) = reader.read(&mut buf).await {}
    };
    tokio::select! {
        () = reads => {}
        () = sends => {}
    }
}

/// The server's end of a connection comes, whatever the client does.
async fn assert_ends(connection: JoinHandle<()>) {
    let ended = timeout(PATIENCE, connection).await;
    if let Err(error) = ended.expect("the connection ends") {
        let panic = error.into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&KNOWN), "the connection does not panic");
    }
}

/// What h2 asserts of its own state when a connection is dropped, in debug builds alone. It does not always hold; nothing
/// depends on it.
const KNOWN: &str = "assertion failed: !self.has_streams()";

/// libFuzzer's hook ends the process with the first panic.
fn pass_over_known() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some(KNOWN) {
            before(info);
        }
    }));
}

/// A client of good will gets its answer, byte for byte, at once.
async fn assert_innocent_is_served() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n";
    let (mut client, server) = tokio::io::duplex(SOCKET);
    let (_running, told) = watch::channel(());
    let connection = tokio::spawn(fuzzing::connection(server, service(), told));
    client.write_all(b"GET /innocent HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it listens");
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\n/innocent") {
            assert_ne!(client.read_buf(&mut answer).await.expect("it answers"), 0, "cut");
        }
    };
    timeout(Duration::from_secs(1), read).await.expect("an answer at once");
    assert!(answer.starts_with(HEAD), "{:?}", answer.escape_ascii().to_string());
    drop(client);
    assert_ends(connection).await;
}

/// Answers as the path says, within 30 s.
fn service() -> fuzzing::Service<DynBody> {
    tower::util::BoxCloneService::new(tower::service_fn(async |request: Request<_>| {
        let answered = timeout(Duration::from_secs(30), answer(request)).await;
        Ok::<_, Infallible>(answered.unwrap_or_else(|_| {
            let mut late = Response::new(full("late"));
            *late.status_mut() = ::http::StatusCode::GATEWAY_TIMEOUT;
            late
        }))
    }))
}

fn full(text: impl Into<Bytes>) -> DynBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

async fn answer<B>(request: Request<B>) -> Response<DynBody>
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = match path.as_bytes().get(1) {
        // The body back.
        Some(b'e') => match body.collect().await {
            Ok(body) => full(body.to_bytes()),
            Err(_) => full("broken"),
        },
        // A large one.
        Some(b'l') => full(vec![b'l'; 100_000]),
        // Slowly, and longer than the time for a head.
        Some(b's') => {
            let pieces = futures::stream::unfold(0, async |n| {
                sleep(Duration::from_secs(7)).await;
                let piece = http_body::Frame::data(Bytes::from_static(b"slow"));
                (n < 5).then_some((Ok(piece), n + 1))
            });
            StreamBody::new(pieces).boxed_unsync()
        }
        // One that breaks.
        Some(b'b') => {
            let pieces =
                [Ok(http_body::Frame::data(Bytes::from_static(b"half"))), Err("half".into())];
            StreamBody::new(futures::stream::iter(pieces)).boxed_unsync()
        }
        Some(b'n') => std::future::pending().await,
        _ => full(path),
    };
    Response::new(body)
}

//! Over real sockets on the loopback. Nothing here sleeps to be in step: each test waits for the event it needs, under a
//! timeout that only a failure reaches.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Mutex;

use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use millpond::SourceAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens soon")
}

struct Server {
    addr: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    outcome: JoinHandle<Outcome>,
}

impl Server {
    fn start<S, F>(max_connections: usize, drain_timeout: Duration, service: S) -> Self
    where
        S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = listener.local_addr();
        let (shutdown, asked) = oneshot::channel();
        let service = tower::service_fn(move |request| {
            let response = service(request);
            async { Ok(response.await) }
        });
        let limits = Limits { max_connections, drain_timeout, pacing: Pacing::default() };
        let outcome = tokio::spawn(listener.serve(service, limits, async {
            let _ = asked.await;
        }));
        Self { addr, shutdown: Some(shutdown), outcome }
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.addr)).await.unwrap()
    }

    fn shut_down(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    async fn outcome(self) -> Outcome {
        soon(self.outcome).await.unwrap()
    }
}

fn text(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::from(body.into()))
}

/// Reads one response whose body is `body`; returns its head.
async fn read_response(stream: &mut TcpStream, body: &str) -> String {
    let mut read = String::new();
    while !(read.contains("\r\n\r\n") && read.ends_with(body)) {
        let mut buf = [0; 1024];
        let n = soon(stream.read(&mut buf)).await.unwrap();
        assert_ne!(n, 0, "cut after {read:?}");
        read.push_str(std::str::from_utf8(&buf[..n]).unwrap());
    }
    read
}

/// Requests that are answered when the test says so.
struct Held {
    /// One for each request that arrives: to be told to answer.
    arrivals: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// One for each request whose future is dropped.
    drops: mpsc::UnboundedReceiver<()>,
}

type ResponseFuture = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

fn held() -> (impl Fn(Request<RequestBody>) -> ResponseFuture + Clone + Send, Held) {
    struct OnDrop(mpsc::UnboundedSender<()>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let (dropped, drops) = mpsc::unbounded_channel();
    let service = move |_| -> ResponseFuture {
        let (answer, told) = oneshot::channel();
        let guard = OnDrop(dropped.clone());
        arrived.send(answer).unwrap();
        Box::pin(async move {
            let _guard = guard;
            let _ = told.await;
            text("done")
        })
    };
    (service, Held { arrivals, drops })
}

#[tokio::test]
async fn serves_both_protocols_and_names_the_peer() {
    let mut server = Server::start(10, PATIENCE, |request: Request<RequestBody>| async move {
        let SourceAddr(peer) = request.extensions().get().unwrap();
        text(format!("{:?} {peer}", request.version()))
    });

    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let me = stream.local_addr().unwrap();
    read_response(&mut stream, &format!("HTTP/1.1 {me}")).await;

    let stream = server.connect().await;
    let me = stream.local_addr().unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    let response = soon(client.send_request(request)).await.unwrap();
    let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, format!("HTTP/2.0 {me}"));

    server.shut_down();
    assert_eq!(server.outcome().await, Outcome { accepted: 2, cut: 0 });
}

#[tokio::test]
async fn the_connection_limit_makes_the_next_wait() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start(1, PATIENCE, {
        let seen = seen.clone();
        move |request: Request<RequestBody>| {
            seen.lock().unwrap().push(request.extensions().get::<SourceAddr>().unwrap().0);
            async { text("ok") }
        }
    });

    let mut first = server.connect().await;
    first.write_all(GET).await.unwrap();
    read_response(&mut first, "ok").await;

    let mut second = server.connect().await;
    second.write_all(GET).await.unwrap();
    // Plenty of turns in which the second could be served, were it not for the limit.
    for _ in 0..100 {
        first.write_all(GET).await.unwrap();
        read_response(&mut first, "ok").await;
    }
    let addrs = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    assert_eq!(*seen.lock().unwrap(), [addrs[0]; 101]);

    drop(first);
    read_response(&mut second, "ok").await;
    assert_eq!(seen.lock().unwrap().last(), Some(&addrs[1]));
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_only() {
    let (service, mut held) = held();
    let mut server = Server::start(10, PATIENCE, service);

    let mut fresh = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(GET).await.unwrap();
    soon(held.arrivals.recv()).await.unwrap().send(()).unwrap();
    read_response(&mut idle, "done").await;
    let mut busy = server.connect().await;
    busy.write_all(GET).await.unwrap();
    let answer = soon(held.arrivals.recv()).await.unwrap();

    server.shut_down();

    let mut rest = Vec::new();
    assert_eq!(soon(idle.read_to_end(&mut rest)).await.unwrap(), 0);
    assert_eq!(soon(fresh.read_to_end(&mut rest)).await.unwrap(), 0);
    assert!(TcpStream::connect(server.addr).await.is_err(), "it accepts no more");
    assert!(!server.outcome.is_finished(), "it waits for the busy one");

    answer.send(()).unwrap();
    let head = read_response(&mut busy, "done").await;
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(soon(busy.read_to_end(&mut rest)).await.unwrap(), 0);
    assert_eq!(server.outcome().await, Outcome { accepted: 3, cut: 0 });
}

#[tokio::test]
async fn at_the_deadline_what_remains_is_cut() {
    let (service, mut held) = held();
    let mut server = Server::start(10, Duration::ZERO, service);

    let mut http1 = server.connect().await;
    http1.write_all(GET).await.unwrap();
    let _answer1 = soon(held.arrivals.recv()).await.unwrap();

    let (mut client, connection) = hyper::client::conn::http2::handshake(
        TokioExecutor::new(),
        TokioIo::new(server.connect().await),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let http2 = tokio::spawn(
        client.send_request(Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap()),
    );
    let _answer2 = soon(held.arrivals.recv()).await.unwrap();

    server.shut_down();

    assert_eq!(server.outcome().await, Outcome { accepted: 2, cut: 2 });
    soon(held.drops.recv()).await.unwrap();
    soon(held.drops.recv()).await.unwrap();
    soon(http2).await.unwrap().expect_err("no response");
    // Closed or reset, but without a byte.
    let mut rest = Vec::new();
    let _ = soon(http1.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_half_closed_connection_counts_as_gone() {
    let (service, mut held) = held();
    let server = Server::start(10, PATIENCE, service);

    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let _answer = soon(held.arrivals.recv()).await.unwrap();
    stream.shutdown().await.unwrap();

    soon(held.drops.recv()).await.unwrap();
}

#[tokio::test]
async fn heads_are_limited_to_64_kib() {
    let server = Server::start(10, PATIENCE, |_| async { text("ok") });
    for (length, expected) in [(60 * 1024, "HTTP/1.1 200 OK"), (64 * 1024, "HTTP/1.1 431 ")] {
        let (mut read, mut write) = server.connect().await.into_split();
        let head =
            format!("GET / HTTP/1.1\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(length));
        // The server may answer and close before it has read everything.
        let sent =
            tokio::spawn(async move { write.write_all(head.as_bytes()).await.map(|()| write) });
        let mut response = vec![0; expected.len()];
        soon(read.read_exact(&mut response)).await.unwrap();
        assert_eq!(String::from_utf8(response).unwrap(), expected);
        drop(sent);
    }
}

#[tokio::test]
async fn a_panic_ends_its_connection_only() {
    let mut server = Server::start(10, PATIENCE, |request: Request<RequestBody>| async move {
        assert_ne!(request.uri().path(), "/panic", "on purpose");
        text("ok")
    });
    let mut broken = server.connect().await;
    broken.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(broken.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());

    let mut fine = server.connect().await;
    fine.write_all(GET).await.unwrap();
    read_response(&mut fine, "ok").await;
    server.shut_down();
    assert_eq!(server.outcome().await, Outcome { accepted: 2, cut: 0 });
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = Listener::bind(taken.local_addr()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {}: the address is in use; stop what listens there, or choose another",
            taken.local_addr()
        )
    );
}

//! Whole connections in virtual time, over pipes: what a hostile client may do, and for how long.

use http::StatusCode;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::super::traffic::Connections;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// A connection to a service with the routes `/ok`, `/big`, `/quiet` and `/echo`.
struct Served {
    traffic: Arc<Traffic>,
    task: JoinHandle<()>,
    begin: Instant,
    _stop: watch::Sender<()>,
}

impl Served {
    /// The pipe holds 64 KiB each way, as sockets do more or less.
    fn start() -> (DuplexStream, Self) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let traffic = Arc::new(Traffic::default());
        let (stop, stopping) = watch::channel(());
        let peer = ([127, 0, 0, 1], 1).into();
        let service = tower::service_fn(answer);
        let task =
            drive(Arc::clone(&traffic), Pacing::default(), (server, peer), service, stopping);
        (client, Self { traffic, task: tokio::spawn(task), begin: Instant::now(), _stop: stop })
    }

    /// The seconds until the connection has ended, and what is counted then.
    async fn ends(self) -> (u64, Connections) {
        let ended = tokio::time::timeout(SECOND * 86_400, self.task).await;
        ended.expect("it ends within a day").unwrap();
        let seconds = self.begin.elapsed().as_secs();
        // Streams end when they get their turn.
        tokio::time::sleep(SECOND).await;
        let measured = self.traffic.measure();
        assert_eq!((measured.open, measured.queued), (0, 0));
        (seconds, measured)
    }
}

async fn answer(request: Request<RequestBody>) -> Result<Response<Answer>, Infallible> {
    let body = match request.uri().path() {
        "/ok" => Full::from("ok").map_err(Into::into).boxed_unsync(),
        "/big" => Full::from(vec![0; 1 << 20]).map_err(Into::into).boxed_unsync(),
        "/small" => Full::from(vec![0; 10_000]).map_err(Into::into).boxed_unsync(),
        "/quiet" => Quiet { said: false }.boxed_unsync(),
        _ => {
            let body = request.into_body().collect().await;
            let text = body.map_or_else(|error| error.to_string().into(), |body| body.to_bytes());
            Full::from(text).map_err(Into::into).boxed_unsync()
        }
    };
    Ok(Response::new(body))
}

/// Says one thing, and nothing any more.
struct Quiet {
    said: bool,
}

impl Body for Quiet {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match std::mem::replace(&mut self.said, true) {
            false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello\n"))))),
            true => Poll::Pending,
        }
    }
}

type Sender = http2::SendRequest<Answer>;

/// A client that does all that HTTP/2 asks of it, and answers pings.
async fn http2(client: DuplexStream) -> Sender {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Answer> {
    let body = Empty::new().map_err(Into::into).boxed_unsync();
    Request::get(format!("http://a{path}")).body(body).unwrap()
}

/// A request's body of which a byte comes in six seconds.
struct Trickle(mpsc::Receiver<Bytes>);

impl Trickle {
    fn start() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(b"a")).await.is_ok() {
                tokio::time::sleep(SECOND * 6).await;
            }
        });
        Self(receiver)
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test(start_paused = true)]
async fn http1_that_does_not_read_ends() {
    let (mut client, served) = Served::start();
    client.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (seconds, measured) = served.ends().await;
    assert_eq!((seconds, measured.cut(Cut::WriteStalled)), (30, 1));
}

#[tokio::test(start_paused = true)]
async fn http1_that_reads_in_trickles_ends() {
    let (mut client, served) = Served::start();
    client.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::spawn(async move {
        while client.read_u8().await.is_ok() {
            tokio::time::sleep(SECOND * 6).await;
        }
    });
    let (seconds, measured) = served.ends().await;
    assert_eq!((seconds, measured.cut(Cut::SlowWrites)), (30, 1));
}

#[tokio::test(start_paused = true)]
async fn http1_that_sends_in_trickles_is_told() {
    let (mut client, served) = Served::start();
    let head = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    client.write_all(head).await.unwrap();
    let (mut read, mut write) = tokio::io::split(client);
    tokio::spawn(async move {
        while write.write_all(b"a").await.is_ok() {
            tokio::time::sleep(SECOND * 6).await;
        }
    });
    let mut response = String::new();
    let _ = read.read_to_string(&mut response).await;
    assert!(response.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{response}");
    assert!(response.contains("connection: close"), "{response}");
    let (seconds, measured) = served.ends().await;
    assert_eq!((seconds, measured.cut(Cut::SlowRequest)), (30, 1));
}

#[tokio::test(start_paused = true)]
async fn http2_that_sends_in_trickles_is_told() {
    let (client, served) = Served::start();
    let mut sender = http2(client).await;
    let request = Request::post("http://a/echo").body(Trickle::start().boxed_unsync()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(served.begin.elapsed().as_secs(), 30);
    let response = sender.send_request(get("/ok")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(served.traffic.measure().cut(Cut::SlowRequest), 1);
}

#[tokio::test(start_paused = true)]
async fn http2_that_only_answers_pings_ends() {
    let (client, served) = Served::start();
    let mut sender = http2(client).await;
    let response = sender.send_request(get("/ok")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let (seconds, measured) = served.ends().await;
    assert!((60..=90).contains(&seconds), "{seconds}");
    assert_eq!(measured.cut(Cut::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn http2_that_takes_no_response_loses_it() {
    let mut raw = Raw::start(Served::start()).await;
    raw.settings(&[(4, 0)]).await;
    raw.get(1, "/big").await;
    // An event stream that has nothing to say stays, and so does the connection.
    raw.get(3, "/quiet").await;
    raw.frame(8, 0, 3, &100_u32.to_be_bytes()).await;
    let served = raw.answer_pings();
    while served.traffic.measure().cut(Cut::SlowResponse) == 0 {
        assert!(served.begin.elapsed() < SECOND * 60, "it was not cut");
        tokio::time::sleep(SECOND).await;
    }
    assert!((30..=36).contains(&served.begin.elapsed().as_secs()));
    tokio::time::sleep(SECOND * 600).await;
    let measured = served.traffic.measure();
    assert_eq!((measured.open, measured.queued), (1, 0));
    assert_eq!(measured.cut(Cut::SlowResponse) + measured.cut(Cut::WriteStalled), 1);
}

#[tokio::test(start_paused = true)]
async fn http2_that_leaves_the_rest_unread_ends() {
    let mut raw = Raw::start(Served::start()).await;
    // One byte of the window, and the guest is done: the rest is under way for ever.
    raw.settings(&[(4, 1)]).await;
    raw.get(1, "/small").await;
    raw.get(3, "/quiet").await;
    // Beside it a stream that is open, and has nothing to say that waits.
    raw.frame(8, 0, 3, &100_u32.to_be_bytes()).await;
    let (seconds, measured) = raw.answer_pings().ends().await;
    assert!((30..=60).contains(&seconds), "{seconds}");
    assert_eq!(measured.cut(Cut::WriteStalled), 1);
}

#[tokio::test(start_paused = true)]
async fn http2_that_does_not_read_its_socket_ends() {
    let mut raw = Raw::start(Served::start()).await;
    raw.settings(&[(4, (1 << 31) - 1)]).await;
    raw.frame(8, 0, 0, &((1_u32 << 31) - 1 - 65_535).to_be_bytes()).await;
    for stream in 0..10 {
        raw.get(2 * stream + 1, "/big").await;
    }
    let Raw { served, read, write } = raw;
    let (seconds, measured) = served.ends().await;
    assert!((30..=45).contains(&seconds), "{seconds}");
    assert_eq!(measured.cut(Cut::WriteStalled), 1);
    drop((read, write));
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_that_is_silent_stays() {
    let (client, served) = Served::start();
    let mut sender = http2(client).await;
    let mut body = sender.send_request(get("/quiet")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello\n");
    tokio::time::sleep(SECOND * 3600).await;
    let response = sender.send_request(get("/ok")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(served.traffic.measure().open, 1);
    drop(body);
}

/// A client that speaks HTTP/2 by hand, and reads nothing unless told to.
struct Raw {
    served: Served,
    read: ReadHalf<DuplexStream>,
    write: Arc<Mutex<WriteHalf<DuplexStream>>>,
}

impl Raw {
    async fn start((client, served): (DuplexStream, Served)) -> Self {
        let (read, mut write) = tokio::io::split(client);
        write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        Self { served, read, write: Arc::new(Mutex::new(write)) }
    }

    /// Reads from now on, answers pings, and never gives a window.
    fn answer_pings(self) -> Served {
        let Self { served, mut read, write } = self;
        tokio::spawn(async move {
            let mut head = [0; 9];
            while read.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                read.read_exact(&mut payload).await.unwrap();
                if head[3..5] == [6, 0] {
                    let answer = [&[0, 0, 8, 6, 1, 0, 0, 0, 0], &payload[..]].concat();
                    let _ = write.lock().await.write_all(&answer).await;
                }
            }
        });
        served
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.write.lock().await.write_all(&frame).await.unwrap();
    }

    async fn settings(&mut self, settings: &[(u16, u32)]) {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        self.frame(4, 0, 0, &payload).await;
    }

    async fn get(&mut self, stream: u32, path: &str) {
        let len = [u8::try_from(path.len()).unwrap()];
        let head = [&[0x82, 0x86, 0x01, 1, b'a', 0x04], &len[..], path.as_bytes()].concat();
        self.frame(1, 5, stream, &head).await;
    }
}

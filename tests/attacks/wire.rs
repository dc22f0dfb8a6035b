//! Bytes as they are: what goes over a connection, and an upstream that keeps all that comes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use millpond_tests::PATIENCE;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Sends bytes, and returns all that comes until the peer closes. What it does not read, it does not read.
pub(crate) async fn talk(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    talk_on(TcpStream::connect(addr).await.unwrap(), bytes).await
}

/// The same on a connection that is there.
pub(crate) async fn talk_on(stream: impl AsyncRead + AsyncWrite, bytes: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let write = async {
        // The peer may have closed by then.
        let _ = to.write_all(bytes).await;
        let _ = to.flush().await;
    };
    let read = async {
        // A reset is an end too.
        let _ = from.read_to_end(&mut answer).await;
    };
    let talked = timeout(PATIENCE, async { tokio::join!(write, read) }).await;
    assert!(talked.is_ok(), "no end of {:?}: {:?}", text(bytes), text(&answer));
    answer
}

/// The statuses of all responses in these bytes; 1xx are none.
pub(crate) fn statuses(answer: &[u8]) -> Vec<u16> {
    let answer = text(answer);
    // Bodies here have no line that begins so.
    let heads = answer.split("HTTP/1.").skip(1);
    let statuses = heads.filter_map(|head| head.get(2..5)?.parse::<u16>().ok());
    statuses.filter(|status| *status >= 200).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an upstream has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Request(Message),
    /// What is no request, read strictly.
    Garbage(Vec<u8>),
}

/// A request, read as strictly as RFC 9112 allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    /// All values under a name.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(other, _)| other == name);
        values.map(|(_, value)| &**value).collect()
    }
}

/// A server that keeps what comes, and answers each request it has read with 200.
pub(crate) struct Recorder {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let keep = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(record(stream, Arc::clone(&keep)));
            }
        });
        Self { addr, seen, task }
    }

    /// The flag that puts it behind a proxy.
    pub(crate) fn flag(&self) -> String {
        format!("--upstream=http://{}", self.addr)
    }

    /// Takes what it has seen so far.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// Takes the one request that it has seen so far.
    pub(crate) fn take_one(&self) -> Message {
        match &self.take()[..] {
            [Seen::Request(message)] => message.clone(),
            other => panic!("expected one request: {other:?}"),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut bytes = Vec::new();
    loop {
        match message(&bytes) {
            Ok(Some((message, len))) => {
                bytes.drain(..len);
                seen.lock().unwrap().push(Seen::Request(message));
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            Err(()) => return seen.lock().unwrap().push(Seen::Garbage(bytes)),
        }
    }
}

/// The first request of these bytes and its length, if it is all there.
pub(crate) fn message(bytes: &[u8]) -> Result<Option<(Message, usize)>, ()> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (line, fields) = match find(&bytes[..end], b"\r\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..end]),
        None => (&bytes[..end], &b""[..]),
    };
    let line = String::from_utf8(line.to_vec()).map_err(drop)?;
    let words: Vec<_> = line.split(' ').collect();
    if words.len() != 3 || words.contains(&"") || words[2] != "HTTP/1.1" {
        return Err(());
    }
    let mut message = Message { line, headers: headers(fields)?, ..Message::default() };
    let at = end + 4;
    let lengths = message.values("content-length");
    let codings = message.values("transfer-encoding");
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Some((message, at))),
        ([length], []) => {
            let length: usize = length.parse().map_err(drop)?;
            let Some(body) = bytes.get(at..at + length) else { return Ok(None) };
            message.body = body.to_vec();
            Ok(Some((message, at + length)))
        }
        ([], ["chunked"]) => chunks(bytes, at, message),
        _ => Err(()),
    }
}

fn chunks(
    bytes: &[u8],
    mut at: usize,
    mut message: Message,
) -> Result<Option<(Message, usize)>, ()> {
    loop {
        let Some(len) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + len]).map_err(drop)?;
        let size = usize::from_str_radix(size, 16).map_err(drop)?;
        at += len + 2;
        if size == 0 {
            if bytes[at..].starts_with(b"\r\n") {
                return Ok(Some((message, at + 2)));
            }
            let Some(end) = find(&bytes[at..], b"\r\n\r\n") else { return Ok(None) };
            message.trailers = headers(&bytes[at..at + end])?;
            return Ok(Some((message, at + end + 4)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let Some(data) = chunk.strip_suffix(b"\r\n") else { return Err(()) };
        message.body.extend_from_slice(data);
        at += size + 2;
    }
}

fn headers(bytes: &[u8]) -> Result<Vec<(String, String)>, ()> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(bytes).map_err(drop)?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':').ok_or(())?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.!#$%&'*+^`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_name) || value.contains(['\r', '\n', '\0']) {
            return Err(());
        }
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    text.split("\r\n").map(field).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

//! What the tests here share beyond the harness.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::body::Incoming;
use millpond::HttpVersion::{self, P2, P3};
use millpond::Limits;
use millpond_tests::{Body, Client, PATIENCE, Protocol, Reply, Server, pool, whole};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Every way in which a guest is driven: 0.2, 0.3 beside others, 0.3 alone on its instance.
pub(crate) const WAYS: [Way; 3] = [(P2, 1), (P3, 16), (P3, 1)];

/// The version, and how many requests an instance takes at a time.
pub(crate) type Way = (HttpVersion, usize);

pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

/// A server of the test guest.
pub(crate) async fn server(
    (version, concurrency): Way,
    change: impl FnOnce(&mut Limits) + Send + 'static,
) -> Server {
    let pool = pool(version, |builder| {
        builder.limits(move |limits| {
            limits.concurrency = concurrency;
            // Several pools at a time are in this process: each reserves what all its instances need.
            limits.max_instances = 16;
            change(limits);
        })
    });
    Server::start(pool.await).await
}

/// What to send into a body, piece by piece.
pub(crate) type Upload = Sender<Bytes>;

/// A body whose pieces the test sends when it likes.
pub(crate) fn held_back() -> (Upload, Body) {
    let (upload, body) = Channel::<Bytes>::new(1);
    (upload, BoxBody::new(body))
}

/// A request that is in a guest for as long as the test likes: the guest waits for the rest of its
/// body before it answers.
pub(crate) struct Held {
    upload: Upload,
    reply: JoinHandle<Reply>,
}

impl Held {
    /// Sends the head, on a connection of its own.
    pub(crate) async fn send(addr: SocketAddr, protocol: Protocol) -> Self {
        let mut client = Client::connect(addr, protocol).await;
        let (upload, body) = held_back();
        let request = client.request("/drain").method("POST").body(body).unwrap();
        let reply = tokio::spawn(async move {
            let response = client.send(request).await.expect("a response");
            whole(response).await
        });
        Self { upload, reply }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.reply.is_finished()
    }

    /// Sends the body, five bytes, and gets the answer: `5` if the guest saw it.
    pub(crate) async fn finish(mut self) -> Reply {
        // Fails if the answer is there already.
        let _ = self.upload.send_data(Bytes::from_static(b"12345")).await;
        drop(self.upload);
        timeout(PATIENCE, self.reply).await.expect("an answer in good time").unwrap()
    }
}

/// The next bytes of a body, exactly so many.
pub(crate) async fn read_exactly(body: &mut Incoming, len: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    let read = async {
        while bytes.len() < len {
            let frame = body.frame().await.expect("the body goes on").expect("it is whole");
            bytes.extend_from_slice(&frame.into_data().expect("no trailers yet"));
        }
    };
    timeout(PATIENCE, read).await.expect("the bytes in good time");
    assert_eq!(bytes.len(), len, "no more than was sent");
    bytes.freeze()
}

/// What `/bytes` sends.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// What `Proxy-Status` says, if it is there.
pub(crate) fn proxy_status(reply: &Reply) -> Option<&str> {
    reply.headers.get("proxy-status").map(|value| value.to_str().unwrap())
}

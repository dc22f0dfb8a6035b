//! Responses that stream while their guest is kept for their end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Full, StreamBody};
use millpond::Reason;
use millpond::expiration::{InstanceExpiration as _, boxed, from_fn};
use millpond_tests::Protocol::Http1;
use millpond_tests::{Front, PATIENCE, empty, until, whole};

use crate::setup::{
    PROTOCOLS, Script, assert_failure, begin, finish, guests, next, out, streams, wat,
};

/// Whether a body is to move, as the guests' policies have seen it last.
#[derive(Clone, Default)]
struct Moving(Arc<AtomicBool>);

impl Moving {
    async fn until(&self, what: &str, moving: bool) {
        until(what, || (self.0.load(SeqCst) == moving).then_some(())).await;
    }
}

#[tokio::test]
async fn no_time_runs_while_the_service_is_silent() {
    let (app, mut streams) = streams();
    let moving = Moving::default();
    let watched = moving.clone();
    let pool = guests(|builder| {
        builder.expiration(move |policy| {
            let Moving(moving) = watched.clone();
            boxed(policy.or(from_fn(move |cx| {
                moving.store(cx.view().stalled_since.is_some(), SeqCst);
                Poll::Pending
            })))
        })
    });
    let front = Front::start(pool.await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let script = Script("requests", "kept");
        let (mut stream, response) = begin(&front, &mut client, &mut streams, script).await;
        moving.until("the body is not to move: nothing is there to be sent", false).await;
        // More than the server and its socket take, and the client does not read it.
        let flood = tokio::spawn(async move {
            for _ in 0..1000 {
                let _ = stream.send_data(Bytes::from(vec![0; 1 << 16])).await;
            }
            stream
        });
        moving.until("it is to move: the client is slow", true).await;
        let mut body = response.into_body();
        let read = tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                frame.expect("it is not broken");
            }
        });
        let stream = flood.await.expect("no panic");
        moving.until("the service is silent again", false).await;
        drop(stream);
        read.await.expect("it has ended well");
        front.until("the guest is idle", |now| now.instances.idle == 1).await;
    }
    assert_eq!(front.pool.snapshot().starts, 1);
}

#[tokio::test]
async fn losing_the_guest_breaks_the_body_at_once() {
    for protocol in PROTOCOLS {
        let (app, mut streams) = streams();
        let front = Front::start(guests(|builder| builder).await, app).await;
        let mut client = front.connect(protocol).await;
        let script = Script("requests", "kept");
        let (stream, response) = begin(&front, &mut client, &mut streams, script).await;
        front.pool.stop();
        let reply = tokio::time::timeout(PATIENCE, whole(response)).await;
        assert!(reply.expect("though the service is silent").broken, "{protocol:?}");
        front.until("the guest is gone", |now| now.instances.live() == 0).await;
        drop(stream);
    }
}

/// A body of which only the length is known.
struct Awaited(u64, Channel<Bytes, std::io::Error>);

impl http_body::Body for Awaited {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.1).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_of_known_length_ends_with_it() {
    for (text, header) in [("", false), ("", true), ("hello", false), ("hello", true)] {
        let scripts = [Script("requests", "kept"), Script("features 2", "kept")];
        let open = Arc::new(Mutex::new(Vec::new()));
        let senders = Arc::clone(&open);
        let app = Router::new().fallback(async move || {
            let (mut sender, body): (Sender<Bytes, _>, _) = Channel::new(1);
            let body = Body::new(Awaited(text.len() as u64, body));
            tokio::spawn(async move {
                // Once it has been asked for.
                tokio::task::yield_now().await;
                if !text.is_empty() {
                    sender.send_data(Bytes::from(text)).await.expect("a reader");
                }
                // Its end is never said.
                senders.lock().expect("no panic").push(sender);
            });
            let response = Response::builder();
            let length = text.len();
            let response = if header { response.header(CONTENT_LENGTH, length) } else { response };
            response.body(body).expect("a good response")
        });
        let front = Front::start(guests(|builder| builder).await, app).await;
        let mut client = front.connect(Http1).await;
        for script in scripts {
            let reply = tokio::time::timeout(PATIENCE, script.get(&mut client)).await;
            assert_eq!(reply.expect("though its end is not said").text(), text);
            let now = front.until("nothing runs", |now| now.streaming + now.busy == 0).await;
            assert_eq!((now.instances.idle, now.retired.total()), (1, 0), "{text} {header}");
        }
    }
}

/// What a service sends, and what it says of that.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Short,
    ShortAtOnce,
    Nothing,
    TrailersTooSoon,
    Long,
}

fn lying(lie: Lie) -> Router {
    Router::new().fallback(async move || {
        let text = |text: &'static str| Ok::<_, std::io::Error>(Frame::data(Bytes::from(text)));
        let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
        let body = match lie {
            Lie::Short => {
                let slow = futures::stream::once(async move {
                    tokio::task::yield_now().await;
                    text("half")
                });
                Body::new(StreamBody::new(slow))
            }
            Lie::ShortAtOnce => Body::new(Full::from("half")),
            Lie::Nothing => Body::new(StreamBody::new(futures::stream::iter([text("")]))),
            Lie::TrailersTooSoon => {
                let frames = [text("half"), trailers()];
                Body::new(StreamBody::new(futures::stream::iter(frames)))
            }
            Lie::Long => {
                let frames = [text("half "), text("and more"), text("than was said")];
                Body::new(StreamBody::new(futures::stream::iter(frames)))
            }
        };
        Response::builder().header(CONTENT_LENGTH, 10).body(body).expect("a good response")
    })
}

#[tokio::test]
async fn a_body_of_wrong_length_is_never_whole() {
    let scripts = [
        Script("requests", "kept"),
        Script("features 2", "kept"),
        Script("features 2", "drink 1 99;write 1 changed"),
        Script("write 1 before", "kept"),
        Script("set 3 x-sum 1", "kept"),
    ];
    for lie in [Lie::Short, Lie::ShortAtOnce, Lie::Nothing, Lie::TrailersTooSoon, Lie::Long] {
        let front = Front::start(guests(|builder| builder).await, lying(lie)).await;
        for (protocol, script) in PROTOCOLS.iter().flat_map(|p| scripts.map(|s| (*p, s))) {
            let what = format!("{lie:?} {protocol:?} {} {}", script.0, script.1);
            let mut client = front.connect(protocol).await;
            let request = script.on(client.request("/")).body(empty()).expect("a good request");
            let reply = match client.send(request).await {
                Ok(response) => whole(response).await,
                // It may break off before the head.
                Err(_) if script.0 != "features 2" => continue,
                Err(error) => panic!("{what}: {error}"),
            };
            let is_whole = reply.status == 200 && !reply.broken;
            // HTTP/1.1 sends what was said, and no more.
            let cut = matches!(lie, Lie::Long) && reply.headers.contains_key(CONTENT_LENGTH);
            assert!(!is_whole || cut && reply.body.len() == 10, "{what}: {reply:?}");
            if script.0 == "features 2" {
                assert_failure(&reply, 502, "http_response_incomplete", "upstream failed");
            }
        }
        let mut client = front.connect(Http1).await;
        assert_eq!(out(&Script("kept;answer", "").get(&mut client).await), "", "it serves on");
        assert_eq!(front.pool.snapshot().retired.total(), 0, "{lie:?}");
    }
}

#[tokio::test]
async fn nor_if_the_guest_is_free_by_then() {
    let guest = crate::setup::module(
        r#"(data (i32.const 0) "before ")
        (func (export "handle_request") (result i64)
            (call $write_body (i32.const 1) (i32.const 0) (i32.const 7)) (i64.const 1))
        (func (export "handle_response") (param i32 i32))"#,
    );
    let front = Front::start(wat(guest, |builder| builder).await, lying(Lie::Short)).await;
    for protocol in PROTOCOLS {
        let reply = front.connect(protocol).await.get("/").await;
        assert!(reply.broken, "{protocol:?}: {reply:?}");
    }
}

#[tokio::test]
async fn a_bodiless_answer_stays_bodiless() {
    let app = Router::new().fallback(async |request: axum::extract::Request| {
        let asked_head = request.method() == http::Method::HEAD;
        let response = Response::builder().status(if asked_head { 200 } else { 304 });
        response.header(CONTENT_LENGTH, 10).body(Body::empty()).expect("a good response")
    });
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for script in [
            Script("set_method HEAD", "kept"),
            Script("set_method HEAD;features 2", "kept"),
            Script("set_status 200", "kept"),
            Script("set_status 200;features 2", "kept"),
        ] {
            let reply = script.get(&mut client).await;
            assert_eq!((reply.status.as_u16(), reply.text(), reply.broken), (200, "", false));
            let length = reply.headers.get(CONTENT_LENGTH);
            assert!(length.is_none_or(|length| length == "0"), "{reply:?}");
        }
    }
    assert_eq!(front.pool.snapshot().retired.get(Reason::Cancelled), 0);
}

#[tokio::test]
async fn the_last_call_has_the_time_of_a_call() {
    let (app, mut streams) = streams();
    let pool = guests(|builder| {
        builder.limits(|limits| {
            limits.request_timeout = Duration::from_millis(500);
            // That of a body counts for nothing while the guest works.
            limits.body_stall_timeout = PATIENCE * 20;
        })
    });
    let front = Front::start(pool.await, app).await;
    for (protocol, ended) in PROTOCOLS.into_iter().zip(1..) {
        let mut client = front.connect(protocol).await;
        let request = Script("requests", "spin").on(client.request("/")).body(empty());
        let (response, ()) = tokio::join!(client.send(request.expect("a good request")), async {
            let stream = next(&mut streams).await;
            front.until("it streams", |now| now.streaming == 1).await;
            finish(stream, "one").await;
        });
        assert!(whole(response.expect("a head")).await.broken, "{protocol:?}");
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.retired.get(Reason::Timeout), now.retired.total()), (ended, ended));
    }
}

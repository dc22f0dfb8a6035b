//! Bodies, there and back, as guests read and change them.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use millpond_tests::{Client, Front, full};
use serde_json::Value;

use crate::setup::{PROTOCOLS, Script, digest, guests, header, mirrored, noise, out, seen};

/// A body, by length or in pieces of 1000 bytes at most.
fn sized(body: &Bytes, chunked: bool) -> millpond_tests::Body {
    if !chunked {
        return full(body.clone());
    }
    let piece = if body.len() > 1 << 20 { 100_000 } else { 1000 };
    let pieces: Vec<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok(http_body::Frame::data(piece)));
    StreamBody::new(futures::stream::iter(frames)).boxed()
}

async fn post(
    client: &mut Client,
    script: Script<'_>,
    body: &Bytes,
    chunked: bool,
) -> millpond_tests::Reply {
    script.send(client, |request| request.method("POST"), sized(body, chunked)).await
}

fn assert_whole(seen: &Value, body: &Bytes) {
    let digest = digest(body).to_string();
    assert_eq!((&seen["len"], &seen["digest"]), (&body.len().into(), &digest.into()), "{seen}");
}

#[tokio::test]
async fn a_buffered_request_body_is_read_twice() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for len in [0, 1, 5, 2048, 4000, 4096, 5000, 60_000, 64_511, 64_512, 10 << 20] {
            for chunked in [false, true] {
                let body = noise(len);
                let script = Script("features 1;drink 0 2048;digest", "");
                let reply = post(&mut client, script, &body, chunked).await;
                assert_eq!(out(&reply), format!("1;{len};{}", digest(&body)));
                assert_whole(&seen(&reply), &body);
            }
        }
    }
}

#[tokio::test]
async fn one_read_returns_all_and_the_end() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for len in [0, 1, 4000, 5000, 60_000, 64_511, 64_512] {
            for chunked in [false, true] {
                let body = noise(len);
                let script = Script("features 1;whole 0 64512;digest;echo 0", "");
                let reply = post(&mut client, script, &body, chunked).await;
                assert_eq!(reply.status, 200, "{protocol:?} {len} {chunked}");
                assert_eq!(out(&reply), format!("1;{}", digest(&body)));
                assert_whole(&seen(&reply), &body);
            }
        }
    }
}

#[tokio::test]
async fn a_full_buffer_is_not_the_end() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for chunked in [false, true] {
            let script = Script("features 1;read 0 3000;read 0 1999;read 0 1;read 0 9", "");
            let reply = post(&mut client, script, &noise(5000), chunked).await;
            assert_eq!(out(&reply), "1;0/3000;0/1999;1/1;1/0");
        }
    }
}

#[tokio::test]
async fn what_is_read_without_buffering_is_gone() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for chunked in [false, true] {
            let (body, script) = (noise(5000), Script("read 0 1500", ""));
            let reply = post(&mut client, script, &body, chunked).await;
            assert_eq!(out(&reply), "0/1500");
            assert_whole(&seen(&reply), &body.slice(1500..));
            let reply = post(&mut client, Script("drink 0 999", ""), &body, chunked).await;
            assert_whole(&seen(&reply), &Bytes::new());
        }
    }
}

#[tokio::test]
async fn late_buffering_loses_only_what_was_read() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for script in [
            Script("read 0 1500;features 1", ""),
            Script("read 0 1500;features 1;read 0 100", ""),
            Script("read 0 1500;features 1;read 0 2400", ""),
            Script("read 0 1500;features 1;drink 0 7", ""),
        ] {
            let body = noise(5000);
            let reply = post(&mut client, script, &body, true).await;
            assert_whole(&seen(&reply), &body.slice(1500..));
        }
    }
}

#[tokio::test]
async fn writing_replaces_the_whole_request_body() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        for chunked in [false, true] {
            for (script, expected) in [
                (Script("write 0 abc;write 0 def", ""), "abcdef"),
                (Script("write 0", ""), ""),
                (Script("read 0 100;write 0 abc", ""), "abc"),
                (Script("features 1;drink 0 1000;write 0 abc", ""), "abc"),
            ] {
                // The server closes a connection on which unread bytes are left.
                let mut client = front.connect(protocol).await;
                let reply = post(&mut client, script, &noise(3000), chunked).await;
                assert_eq!(seen(&reply)["body"], expected, "{}", script.0);
                let lengths = crate::setup::mirrored_values(&seen(&reply), "content-length");
                assert_eq!(lengths, [expected.len().to_string()]);
            }
        }
    }
}

#[tokio::test]
async fn request_body_is_readable_after_handler() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let body = noise(5000);
        let script = Script("features 3;drink 0 2048", "drink 0 2048;digest;tell");
        let reply = post(&mut client, script, &body, true).await;
        assert_eq!(header(&reply, "x-back"), format!("5000;{}", digest(&body)));
    }
}

/// Answers what it is sent, with a length if it came with one.
fn echo() -> Router {
    Router::new().fallback(async |request: Request| {
        if http_body::Body::size_hint(request.body()).exact().is_some() {
            let bytes = request.into_body().collect().await.expect("a body").to_bytes();
            return Response::new(Body::from(bytes));
        }
        Response::new(request.into_body())
    })
}

#[tokio::test]
async fn a_buffered_response_passes_unchanged() {
    let front = Front::start(guests(|builder| builder).await, echo()).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for len in [0, 1, 4000, 5000, 60_000, 64_511, 64_512, 10 << 20] {
            for chunked in [false, true] {
                let body = noise(len);
                for script in [
                    Script("features 2", "drink 1 4096;digest;tell"),
                    Script("features 3;drink 0 4096", "drink 1 65536;digest;tell"),
                ] {
                    let reply = post(&mut client, script, &body, chunked).await;
                    assert_eq!(header(&reply, "x-back"), format!("{len};{}", digest(&body)));
                    assert!(reply.body == body && !reply.broken, "{protocol:?} {len} {chunked}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_response_body_is_read_and_rewritten() {
    let front = Front::start(guests(|builder| builder).await, echo()).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for len in [0, 1, 4000, 5000, 60_000, 64_511, 64_512] {
            for chunked in [false, true] {
                let body = noise(len);
                let script = Script("features 2", "whole 1 64512;echo 1;write 1 !");
                let reply = post(&mut client, script, &body, chunked).await;
                let expected = [&body[..], b"!"].concat();
                assert!(reply.body == expected && !reply.broken, "{protocol:?} {len} {chunked}");
            }
        }
    }
}

#[tokio::test]
async fn a_streamed_response_passes_unchanged() {
    let front = Front::start(guests(|builder| builder).await, echo()).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for len in [0, 1, 5000, 64_512, 10 << 20] {
            for chunked in [false, true] {
                let body = noise(len);
                let reply = post(&mut client, Script("", "kept"), &body, chunked).await;
                assert!(reply.body == body && !reply.broken, "{protocol:?} {len} {chunked}");
            }
        }
    }
    front.until("all guests are idle", |now| now.instances.idle == now.instances.live()).await;
    assert_eq!(front.pool.snapshot().retired.total(), 0);
}

#[tokio::test]
async fn the_response_is_changed_with_buffering() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client: Client = front.connect(protocol).await;
        let script = Script(
            "features 2",
            "status;set_status 418;set 1 a 1;add 1 a 2;remove 1 content-type;names 1 99;write 1 new;tell",
        );
        let reply = script.get(&mut client).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (418, "new"));
        assert_eq!(reply.headers["content-length"], "3");
        assert_eq!(reply.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!reply.headers.contains_key("content-type"));
        let names = header(&reply, "x-back").strip_prefix("200;").expect("a status");
        assert!(names.contains("=a|") && names.contains("x-out|"), "{names}");
    }
}

#[tokio::test]
async fn the_length_is_that_of_what_is_sent() {
    let app = Router::new().fallback(async || ([("content-length", "5")], "hello"));
    let front = Front::start(guests(|builder| builder).await, app).await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for (script, expected) in [
            (Script("features 2", "write 1 longer%20than%20that"), "longer than that"),
            (Script("features 2", "write 1 x"), "x"),
            (Script("features 2", "write 1"), ""),
            (Script("write 1 before", ""), "beforehello"),
            (Script("features 2;write 1 before", "drink 1 99"), "beforehello"),
            (Script("features 2;write 1 before", "write 1 after"), "after"),
        ] {
            let reply = script.get(&mut client).await;
            assert_eq!(
                (reply.text(), reply.broken),
                (expected, false),
                "{protocol:?} {}",
                script.0
            );
        }
    }
}

#[tokio::test]
async fn an_unread_body_is_not_buffered() {
    let pool = guests(|builder| builder.max_body(1000)).await;
    let front = Front::start(pool, echo()).await;
    for protocol in PROTOCOLS {
        let mut client: Client = front.connect(protocol).await;
        let (body, script) = (noise(200_000), Script("", "kept"));
        let reply = post(&mut client, script, &body, true).await;
        assert!(reply.body == body && !reply.broken, "{protocol:?}");
    }
}

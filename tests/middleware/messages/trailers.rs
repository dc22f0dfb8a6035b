//! Trailers, both ways.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::{Front, Reply};
use serde_json::json;

use crate::setup::{PROTOCOLS, Script, back, guests, mirrored, out, pairs, seen};

fn map(trailers: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    };
    trailers.iter().map(pair).collect()
}

/// A body in these pieces, with trailers.
fn with_trailers(
    pieces: &[&'static str],
    trailers: HeaderMap,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static {
    let data = pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
    let frames: Vec<_> = data.chain([Frame::trailers(trailers)]).map(Ok).collect();
    StreamBody::new(futures::stream::iter(frames))
}

async fn post(front: &Front, protocol: millpond_tests::Protocol, script: Script<'_>) -> Reply {
    let mut client = front.connect(protocol).await;
    let body = with_trailers(&["hel", "lo"], map(&[("x-sum", "42"), ("x-more", "1")])).boxed();
    let with = |request: http::request::Builder| {
        request.method("POST").header("trailer", "x-sum, x-more").header("te", "trailers")
    };
    script.send(&mut client, with, body).await
}

#[tokio::test]
async fn request_trailers_pass_by_default() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        for script in [Script("", ""), Script("features 5;drink 0 99", "")] {
            let reply = post(&front, protocol, script).await;
            let seen = seen(&reply);
            assert_eq!(seen["trailers"], json!([["x-sum", "42"], ["x-more", "1"]]));
            assert_eq!(seen["body"], "hello");
        }
    }
}

#[tokio::test]
async fn request_trailers_are_read_after_the_body() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let script = Script("features 5;names 2 99;drink 0 2;names 2 99;values 2 X-Sum 99", "");
        let reply = post(&front, protocol, script).await;
        assert_eq!(out(&reply), "5;0/0=;5;2/13=x-more|x-sum|;1/3=42|");
    }
}

#[tokio::test]
async fn request_trailers_can_be_changed_any_time() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        for script in [
            Script("features 4;set 2 x-sum 7;add 2 x-new 8;remove 2 x-more", ""),
            Script("features 5;drink 0 99;set 2 x-sum 7;add 2 x-new 8;remove 2 x-more", ""),
            Script("set 2 x-sum 7;add 2 x-new 8;remove 2 x-more", ""),
        ] {
            let reply = post(&front, protocol, script).await;
            let seen = seen(&reply);
            let mut trailers: Vec<_> = seen["trailers"].as_array().expect("some").clone();
            trailers.sort_by_key(ToString::to_string);
            assert_eq!(trailers, [json!(["x-new", "8"]), json!(["x-sum", "7"])], "{}", script.0);
        }
    }
}

#[tokio::test]
async fn a_guest_adds_request_trailers() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for script in [Script("set 2 a b", ""), Script("write 0 hi;set 2 a b", "")] {
            let reply = script.get(&mut client).await;
            assert_eq!(seen(&reply)["trailers"], json!([["a", "b"]]), "{protocol:?}");
        }
    }
}

/// A response in two pieces, with trailers.
fn answers(pieces: &'static [&'static str], length: Option<&'static str>) -> Router {
    Router::new().fallback(async move || {
        let body = with_trailers(pieces, map(&[("x-sum", "42"), ("x-more", "1")]));
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert("trailer", "x-sum, x-more, a".parse().expect("a value"));
        if let Some(length) = length {
            response.headers_mut().insert("content-length", length.parse().expect("a value"));
        }
        response
    })
}

async fn get(front: &Front, protocol: millpond_tests::Protocol, script: Script<'_>) -> Reply {
    let mut client = front.connect(protocol).await;
    let with = |request: http::request::Builder| request.header("te", "trailers");
    script.send(&mut client, with, millpond_tests::empty()).await
}

#[tokio::test]
async fn response_trailers_pass_by_default() {
    for pieces in [&["hel", "lo"][..], &["hello"], &[]] {
        let front = Front::start(guests(|builder| builder).await, answers(pieces, None)).await;
        for protocol in PROTOCOLS {
            for script in [Script("", "kept"), Script("features 2", "drink 1 9")] {
                let reply = get(&front, protocol, script).await;
                assert_eq!((reply.text(), reply.broken), (pieces.concat().as_str(), false));
                let expected = Some(map(&[("x-sum", "42"), ("x-more", "1")]));
                assert_eq!(reply.trailers, expected, "{protocol:?} {pieces:?} {}", script.0);
            }
        }
    }
}

#[tokio::test]
async fn response_trailers_follow_content_length() {
    for pieces in [&["hel", "lo"][..], &["hello"]] {
        let front = Front::start(guests(|builder| builder).await, answers(pieces, Some("5"))).await;
        for protocol in PROTOCOLS {
            let reply = get(&front, protocol, Script("", "kept")).await;
            assert_eq!((reply.text(), reply.broken), ("hello", false));
            // HTTP/1.1 has none with a content-length.
            let expected = map(&[("x-sum", "42"), ("x-more", "1")]);
            let expected = (protocol == H2c).then_some(expected);
            assert_eq!(reply.trailers, expected, "{protocol:?} {pieces:?}");
        }
    }
}

#[tokio::test]
async fn handle_response_reads_response_trailers() {
    for pieces in [&["hel", "lo"][..], &["hello"], &[]] {
        let front = Front::start(guests(|builder| builder).await, answers(pieces, None)).await;
        for protocol in PROTOCOLS {
            let script = Script("features 6", "names 3 99;values 3 x-sum 99;tell");
            let reply = get(&front, protocol, script).await;
            assert_eq!(back(&reply), "2/13=x-more|x-sum|;1/3=42|");
            // Where the body streams, the guest is called when its trailers have come.
            get(&front, protocol, Script("", "values 3 x-sum 99")).await;
            let reply = get(&front, protocol, Script("last", "")).await;
            assert_eq!(out(&reply), "1/3=42|", "{protocol:?} {pieces:?}");
        }
    }
}

#[tokio::test]
async fn response_trailers_are_set_by_the_guest() {
    for pieces in [&["hel", "lo"][..], &["hello"]] {
        let front = Front::start(guests(|builder| builder).await, answers(pieces, None)).await;
        for protocol in PROTOCOLS {
            for (script, text) in [
                (Script("set 3 a b;remove 3 x-more", "kept"), "hello"),
                (Script("features 6;set 3 a b;remove 3 x-more", ""), "hello"),
                (Script("features 6", "set 3 a b;remove 3 x-more"), "hello"),
                (Script("features 6", "set 3 a b;remove 3 x-more;write 1 new"), "new"),
            ] {
                let reply = get(&front, protocol, script).await;
                assert_eq!((reply.text(), reply.broken), (text, false));
                let expected = Some(map(&[("x-sum", "42"), ("a", "b")]));
                assert_eq!(reply.trailers, expected, "{protocol:?} {pieces:?} {}", script.0);
            }
        }
    }
}

#[tokio::test]
async fn a_guests_own_answer_can_have_trailers() {
    let front = mirrored().await;
    for protocol in [Http1, H2c] {
        for script in
            [Script("answer;write 1 hi;set 3 a b", ""), Script("answer;set 3 a b;write 1 hi", "")]
        {
            let reply = get(&front, protocol, script).await;
            assert_eq!((reply.text(), reply.broken), ("hi", false));
            let trailers = reply.trailers.as_ref().map(pairs);
            assert_eq!(trailers, Some(json!([["a", "b"]])), "{protocol:?} {}", script.0);
        }
    }
}

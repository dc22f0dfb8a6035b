//! What guests see of a request's head, and what of their changes the next handler does.

use http::{Method, Version};
use millpond_tests::Protocol::{H2c, Http1};
use millpond_tests::{Protocol, empty};

use crate::setup::{PROTOCOLS, Script, header, mirrored, mirrored_values, out, says, seen};

#[tokio::test]
async fn the_protocol_version_is_the_clients() {
    let front = mirrored().await;
    for (protocol, version) in [(Http1, "8=HTTP/1.1"), (H2c, "8=HTTP/2.0")] {
        let reply = Script("version 99", "").get(&mut front.connect(protocol).await).await;
        assert_eq!(out(&reply), version);
    }
}

#[tokio::test]
async fn an_old_client_is_seen_as_one() {
    let front = mirrored().await;
    let mut client = front.connect(Http1).await;
    let old = |request: http::request::Builder| request.version(Version::HTTP_10);
    let reply = Script("version 99", "").send(&mut client, old, empty()).await;
    assert_eq!(out(&reply), "8=HTTP/1.0");
}

#[tokio::test]
async fn methods_are_seen_and_passed_on() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
            let method = Method::from_bytes(name.as_bytes()).expect("a method");
            let with = |request: http::request::Builder| request.method(method.clone());
            let reply = Script("method 99", "").send(&mut client, with, empty()).await;
            assert_eq!(out(&reply), format!("{}={name}", name.len()));
            if method != Method::HEAD {
                assert_eq!(seen(&reply)["method"], name);
            }
        }
    }
}

#[tokio::test]
async fn set_method_is_seen_by_guest_and_handler() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let script = Script("features 2;set_method POST;method 9", "method 9;tell");
        let reply = script.get(&mut client).await;
        assert_eq!(seen(&reply)["method"], "POST");
        assert_eq!(out(&reply), "2;4=POST");
        assert_eq!(header(&reply, "x-back"), "4=POST", "after the next handler too");
    }
}

const URIS: [(&str, &str); 6] = [
    ("/", "1=/"),
    ("/simple", "7=/simple"),
    ("/simple%26clean", "15=/simple%2526clean"),
    ("/animal?name=panda", "18=/animal?name=panda"),
    ("/disney?name=chip%26dale", "24=/disney?name=chip%2526dale"),
    ("/v1.0/hi?name=kung+fu+panda", "27=/v1.0/hi?name=kung+fu+panda"),
];

#[tokio::test]
async fn uris_are_seen_as_they_were_sent() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for (uri, expected) in URIS {
            let request = Script("uri 99", "").on(client.request(uri));
            let request = request.body(empty()).expect("a good request");
            let reply = millpond_tests::whole(client.send(request).await.expect("one")).await;
            assert_eq!((out(&reply), &seen(&reply)["uri"]), (expected, &uri.into()));
        }
    }
}

#[tokio::test]
async fn set_uri_replaces_path_and_query() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for (script, uri) in [
            (Script("set_uri /simple", ""), "/simple"),
            (Script("set_uri /simple%2526clean", ""), "/simple%26clean"),
            (Script("set_uri /animal?name=panda", ""), "/animal?name=panda"),
            (Script("set_uri /disney?name=chip%2526dale", ""), "/disney?name=chip%26dale"),
            (Script("set_uri", ""), "/"),
            (Script("set_uri /a%20b?c=%C3%BC", ""), "/a%20b?c=%C3%BC"),
            (Script("set_uri http://elsewhere/there?x=1", ""), "/there?x=1"),
        ] {
            let request = script.on(client.request("/old?query=1"));
            let request = request.body(empty()).expect("a good request");
            let reply = millpond_tests::whole(client.send(request).await.expect("one")).await;
            assert_eq!(seen(&reply)["uri"], uri, "{protocol:?}: {}", script.0);
        }
    }
}

#[tokio::test]
async fn finds_all_header_values_in_any_case() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let with = |request: http::request::Builder| {
            let request = request.header("single-header", "value").header("empty-header", "");
            request.header("multi-header", "value1").header("multi-header", "value2")
        };
        for (script, expected) in [
            (Script("values 0 single-header 99", ""), "1/6=value|"),
            (Script("values 0 Single-Header 99", ""), "1/6=value|"),
            (Script("values 0 SINGLE-HEADER 99", ""), "1/6=value|"),
            (Script("values 0 not-header 99", ""), "0/0="),
            (Script("values 0 multi-header 99", ""), "2/14=value1|value2|"),
            (Script("values 0 empty-header 99", ""), "1/1=|"),
        ] {
            let reply = script.send(&mut client, with, empty()).await;
            assert_eq!(out(&reply), expected, "{protocol:?}: {}", script.0);
        }
    }
}

#[tokio::test]
async fn header_names_are_lowercase_and_unique() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let with = |request: http::request::Builder| {
            let request = request.header("A-Header", "value1").header("b-header", "2");
            request.header("b-header", "3")
        };
        let reply = Script("names 0 99", "").send(&mut client, with, empty()).await;
        let names = "4/33=a-header|b-header|host|x-request|";
        assert_eq!(out(&reply), names, "{protocol:?}");
    }
}

#[tokio::test]
async fn the_host_is_a_header_for_http1_and_http2() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let reply = Script("values 0 Host 99", "").get(&mut client).await;
        let host = format!("{}|", front.addr);
        assert_eq!(out(&reply), format!("1/{}={host}", host.len()), "{protocol:?}");

        let reply = Script("set 0 host elsewhere;values 0 host 99", "").get(&mut client).await;
        assert_eq!(out(&reply), "1/10=elsewhere|");
        assert_eq!(mirrored_values(&seen(&reply), "host"), ["elsewhere"]);
    }
}

#[tokio::test]
async fn the_next_handler_sees_changed_headers() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        let with = |request: http::request::Builder| {
            request.header("existing-header", "bear").header("existing-header", "panda")
        };
        for (script, name, expected) in [
            (Script("set 0 new-header value", ""), "new-header", vec!["value"]),
            (Script("set 0 Existing-Header value", ""), "existing-header", vec!["value"]),
            (Script("add 0 new-header value", ""), "new-header", vec!["value"]),
            (
                Script("add 0 Existing-Header value", ""),
                "existing-header",
                vec!["bear", "panda", "value"],
            ),
            (Script("remove 0 new-header", ""), "existing-header", vec!["bear", "panda"]),
            (Script("remove 0 Existing-Header", ""), "existing-header", vec![]),
            (Script("set 0 empty %", ""), "empty", vec![""]),
        ] {
            let reply = script.send(&mut client, with, empty()).await;
            let values = mirrored_values(&seen(&reply), name);
            assert_eq!(values, expected, "{protocol:?}: {}", script.0);
        }
    }
}

#[tokio::test]
async fn a_value_need_not_be_text() {
    let front = mirrored().await;
    let mut client = front.connect(Http1).await;
    let with = |request: http::request::Builder| request.header("raw", &b"\xffy"[..]);
    let reply = Script("values 0 raw 9;set 0 set %FEz", "").send(&mut client, with, empty()).await;
    assert_eq!(out(&reply), "1/3=%FFy|");
    assert_eq!(mirrored_values(&seen(&reply), "set"), ["\u{fffd}z"]);
}

#[tokio::test]
async fn the_source_address_is_the_clients() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let reply = Script("source 99", "").get(&mut front.connect(protocol).await).await;
        let (len, addr) = out(&reply).split_once('=').expect("a value");
        assert_eq!(len, addr.len().to_string());
        let addr: std::net::SocketAddr = addr.parse().expect("an address");
        assert!(addr.ip().is_loopback() && addr.port() != front.addr.port(), "{addr}");
    }
}

#[tokio::test]
async fn without_a_source_there_is_none() {
    let pool = millpond::http_wasm::HttpWasmPool::builder();
    let pool = pool.from_file(millpond_tests::guest_module()).await.expect("a module");
    let front = millpond_tests::Front::start(pool, says("hello")).await;
    let reply = Script("source 99", "").get(&mut front.connect(Protocol::Http1).await).await;
    assert_eq!(out(&reply), "0=");
}

#[tokio::test]
async fn the_handler_does_not_hide_guest_failures() {
    let front = mirrored().await;
    for protocol in PROTOCOLS {
        let mut client = front.connect(protocol).await;
        for script in [
            Script("set_status 500;set 1 x-failed it%20did;status", ""),
            Script("features 2;set_status 500;set 1 x-failed it%20did;status", "status"),
        ] {
            let reply = script.get(&mut client).await;
            assert_eq!((reply.status.as_u16(), header(&reply, "x-failed")), (500, "it did"));
            assert!(out(&reply).ends_with("500"), "the guest sees what it has set");
            assert_eq!(seen(&reply)["method"], "GET", "the next handler did answer");
        }
    }
}

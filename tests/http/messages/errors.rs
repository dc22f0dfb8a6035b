//! The errors that a guest may answer with.

use millpond::{MaxRequests, Reason};

use crate::support::{PROTOCOLS, WAYS, proxy_status, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_code_has_its_status() {
    let table = [
        ("dns-timeout", 504, "http_response_timeout"),
        ("connection-refused", 502, "destination_unavailable"),
        ("http-request-denied", 403, "http_request_denied"),
        ("internal-error", 500, "proxy_internal_error"),
        ("loop-detected", 508, "proxy_loop_detected"),
        ("http-request-body-size", 413, "http_request_error"),
    ];
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(100)).await;
        for protocol in PROTOCOLS {
            let mut client = server.connect(protocol).await;
            for (code, status, error) in table {
                let reply = client.get(&format!("/error?code={code}")).await;
                assert_eq!(reply.status, status, "{way:?} {protocol:?} {code}");
                assert_eq!(
                    proxy_status(&reply),
                    Some(&*format!(
                        "millpond; error={error}; details=\"guest answered with an error\""
                    )),
                    "{way:?} {protocol:?} {code}"
                );
                assert_eq!(reply.text(), "guest answered with an error\n");
            }
            assert_eq!(client.get("/hello").await.text(), "hello\n", "{way:?} {protocol:?}");
        }
        server.until("all is quiet", |now| now.instances.live() == now.instances.idle).await;
        let snapshot = server.pool.snapshot();
        assert_eq!((snapshot.failed, snapshot.responded), (12, 2), "{way:?}");
        assert_eq!(snapshot.retired.total(), 0, "{way:?}: an error code is no end");
        assert_eq!(snapshot.retired.get(Reason::Trap), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_own_answer_has_no_proxy_status() {
    for way in WAYS {
        let server = server(way, |_| {}).await;
        for code in [200, 404, 500, 503] {
            let reply = server.get(&format!("/status?code={code}")).await;
            assert_eq!(reply.status, code, "{way:?}");
            assert_eq!(proxy_status(&reply), None, "{way:?}");
            assert!(!reply.headers.contains_key("retry-after"), "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_status_below_200_is_an_error() {
    for way in WAYS {
        let server = server(way, |limits| limits.max_requests = MaxRequests::exactly(100)).await;
        for protocol in PROTOCOLS {
            for code in [100, 101, 103] {
                let reply =
                    server.connect(protocol).await.get(&format!("/status?code={code}")).await;
                assert_eq!(reply.status, 502, "{way:?} {protocol:?} {code}");
                assert!(proxy_status(&reply).is_some(), "{way:?} {protocol:?} {code}");
            }
        }
        assert_eq!(server.get("/hello").await.text(), "hello\n", "{way:?}");
        assert_eq!(server.pool.snapshot().failed, 6, "{way:?}");
    }
}

//! What an error tells: a client by its status and its words, a balancer by whether a guest may have
//! seen the request.

use std::error::Error as _;

use millpond_pool_core::{Error, ErrorKind, Failure, Reason, Refusal};

/// Each kind, its status, its words, and whether a guest may have seen a request that ends so.
const KINDS: [(ErrorKind, u16, &str, bool); 16] = [
    (ErrorKind::Overloaded, 503, "overloaded", false),
    (ErrorKind::QueueTimeout, 503, "queue timeout", false),
    (ErrorKind::StartTimeout, 503, "start timeout", false),
    (ErrorKind::ResourcesExhausted, 503, "resources exhausted", false),
    (ErrorKind::Draining, 503, "draining", false),
    (ErrorKind::RequestTimeout, 504, "request timeout", true),
    (ErrorKind::Trap, 500, "guest trapped", true),
    (ErrorKind::Exit, 500, "guest exited", true),
    (ErrorKind::HostPanic, 500, "host panic", true),
    (ErrorKind::NoResponse, 500, "guest set no response", true),
    (ErrorKind::Instantiation, 500, "instantiation failed", false),
    (ErrorKind::GuestError, 500, "guest answered with an error", true),
    (ErrorKind::Retired, 503, "instance ended", true),
    (ErrorKind::BadRequest, 400, "bad request", false),
    (ErrorKind::BodyTooLarge, 413, "request body too large", false),
    (ErrorKind::HeadTooLarge, 431, "request head too large", false),
];

#[test]
fn each_kind_has_status_text_and_retry_hint() {
    for (kind, status, words, started) in KINDS {
        let error = Error::new(kind);
        assert_eq!(error.kind(), kind);
        assert_eq!((kind.status(), error.status()), (status, status), "{kind:?}");
        assert_eq!((kind.as_str(), error.to_string().as_str()), (words, words), "{kind:?}");
        assert_eq!(error.request_started(), started, "{kind:?}");
        assert_eq!(error.retire_reason(), None, "{kind:?}: nothing is known of an instance");
        assert!(error.source().is_none(), "{kind:?}");
    }
}

#[test]
fn what_is_known_beside_the_kind_is_kept() {
    let error = Error::new(ErrorKind::GuestError)
        .with_status(502)
        .with_reason(Reason::Trap)
        .with_source("connection refused")
        .not_started();
    assert_eq!((error.kind(), error.status()), (ErrorKind::GuestError, 502));
    assert_eq!(error.kind().status(), 500, "that of the kind is another");
    assert_eq!(error.retire_reason(), Some(Reason::Trap));
    assert!(!error.request_started());
    assert_eq!(error.to_string(), "guest answered with an error (instance ended: trap)");
    assert_eq!(error.source().expect("its cause").to_string(), "connection refused");
}

#[test]
fn who_is_refused_was_seen_by_no_guest() {
    for refusal in Refusal::ALL {
        let kind = match refusal {
            Refusal::Overloaded => ErrorKind::Overloaded,
            Refusal::QueueTimeout => ErrorKind::QueueTimeout,
            Refusal::StartTimeout => ErrorKind::StartTimeout,
            Refusal::Exhausted | Refusal::BudgetExhausted => ErrorKind::ResourcesExhausted,
            Refusal::StartFailed => ErrorKind::Instantiation,
            Refusal::Draining => ErrorKind::Draining,
            other => panic!("unknown refusal {other:?}"),
        };
        let error = Error::from(*refusal);
        assert_eq!(error.kind(), kind, "{refusal}");
        assert!(!error.request_started(), "{refusal}: it may be sent elsewhere");
        assert_eq!(error.retire_reason(), None, "{refusal}: it had no instance");
    }
}

#[test]
fn handed_over_requests_may_have_been_seen() {
    for reason in Reason::ALL {
        let (kind, status) = match reason {
            Reason::Trap => (ErrorKind::Trap, 500),
            Reason::Exit => (ErrorKind::Exit, 500),
            Reason::Timeout => (ErrorKind::RequestTimeout, 504),
            Reason::Drain => (ErrorKind::Draining, 503),
            _ => (ErrorKind::Retired, 503),
        };
        let error = Error::from(Failure::Retired(*reason));
        assert_eq!((error.kind(), error.status()), (kind, status), "{reason}");
        assert!(error.request_started(), "{reason}: a guest may have seen it");
        assert_eq!(error.retire_reason(), Some(*reason));
    }
}

#[test]
fn timeouts_tell_if_the_guest_was_at_fault() {
    let guests = Error::from(Failure::RequestTimeout);
    assert_eq!((guests.kind(), guests.request_started()), (ErrorKind::RequestTimeout, true));
    let starts = Error::from(Failure::StartTimeout);
    assert_eq!((starts.kind(), starts.request_started()), (ErrorKind::StartTimeout, false));
}

//! The counters that no request goes through, and what can be reckoned from the others.

use crate::common::{Rig, exclusive};
use millpond_pool_core::{Reason, Snapshot};

#[test]
fn a_permit_refusal_is_counted_unsubmitted() {
    let mut rig = Rig::new(exclusive(1));
    rig.submit();
    rig.pool.handle_overloaded();
    rig.pool.handle_overloaded();
    let snapshot = rig.pool.snapshot();
    assert_eq!((snapshot.overloaded, snapshot.submitted, snapshot.refused), (2, 1, 0));
    assert_eq!(snapshot.unaccounted(), 0);
}

#[test]
fn a_lost_or_doubled_request_would_show() {
    let mut snapshot = Snapshot::default();
    (snapshot.queued, snapshot.starting) = (1, 2);
    (snapshot.busy, snapshot.pinned) = (3, 4);
    (snapshot.responded, snapshot.failed) = (10, 20);
    (snapshot.refused, snapshot.cancelled) = (30, 40);
    // They have been responded to, and do not count twice.
    (snapshot.streaming, snapshot.abandoned) = (5, 6);
    snapshot.submitted = 110;
    assert_eq!(snapshot.unaccounted(), 0);
    snapshot.submitted = 112;
    assert_eq!(snapshot.unaccounted(), 2, "two were lost");
    snapshot.submitted = 109;
    assert_eq!(snapshot.unaccounted(), -1, "one was counted twice");
}

#[test]
fn each_reason_has_its_count_of_retirements() {
    let mut rig = Rig::new(exclusive(3));
    rig.submit_many(3);
    rig.broken(1, Reason::Trap);
    rig.broken(2, Reason::Trap);
    rig.broken(3, Reason::Exit);
    let retired = rig.pool.snapshot().retired;
    let counts: Vec<_> = retired.iter().collect();
    let expected = Reason::ALL.iter().map(|reason| match reason {
        Reason::Trap => (*reason, 2),
        Reason::Exit => (*reason, 1),
        _ => (*reason, 0),
    });
    assert_eq!(counts, expected.collect::<Vec<_>>(), "those that never came too");
    assert_eq!(retired.total(), 3);
}

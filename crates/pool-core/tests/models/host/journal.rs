//! What a driver was told: by the pool, and for its callers.

use std::collections::BTreeMap;
use std::task::Waker;

use millpond_pool_core::{Failure, InstanceId, Refusal, RequestId};

use super::Item;

#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) guests: BTreeMap<InstanceId, Guest>,
    pub(super) told: Vec<(RequestId, Told)>,
    /// Who waits for something to be written here.
    pub(super) readers: Vec<Waker>,
}

pub(crate) struct Guest {
    pub(crate) life: Life,
    pub(super) holds: Vec<(RequestId, Item)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Told to end before it was told to start.
    Stillborn,
    Starting,
    /// The pool knows that it has started.
    Running,
}

/// What a caller was told instead of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Refused(Refusal),
    Failed(Failure),
}

impl Journal {
    pub(crate) fn told(&self, request_id: RequestId) -> Option<Told> {
        self.told.iter().find(|(other, _)| *other == request_id).map(|(_, told)| *told)
    }

    pub(crate) fn holder(&self, request_id: RequestId) -> Option<InstanceId> {
        let mut holders = self.guests.iter().filter(|(_, guest)| guest.has(request_id));
        let holder = holders.next().map(|(id, _)| *id);
        assert_eq!(holders.next().map(|(id, _)| *id), None, "{request_id:?} was handed out twice");
        holder
    }
}

impl Guest {
    pub(super) fn has(&self, request_id: RequestId) -> bool {
        self.holds.iter().any(|(other, _)| *other == request_id)
    }
}

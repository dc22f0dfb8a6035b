//! What a driver was told: by the pool, and for its callers.

use std::collections::BTreeMap;
use std::task::Waker;

use millpond_pool_core::{Failure, InstanceId, Refusal, Ticket};

use super::Item;

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) guests: BTreeMap<InstanceId, Guest>,
    pub(super) told: Vec<(Ticket, Told)>,
    /// Who waits for something to be written here.
    pub(super) readers: Vec<Waker>,
}

pub(crate) struct Guest {
    pub(crate) life: Life,
    pub(super) holds: Vec<(Ticket, Item)>,
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

impl Book {
    pub(crate) fn told(&self, ticket: Ticket) -> Option<Told> {
        self.told.iter().find(|(other, _)| *other == ticket).map(|(_, told)| *told)
    }

    pub(crate) fn holder(&self, ticket: Ticket) -> Option<InstanceId> {
        let mut holders = self.guests.iter().filter(|(_, guest)| guest.has(ticket));
        let holder = holders.next().map(|(id, _)| *id);
        assert_eq!(holders.next().map(|(id, _)| *id), None, "{ticket:?} was handed out twice");
        holder
    }
}

impl Guest {
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        self.holds.iter().any(|(other, _)| *other == ticket)
    }
}

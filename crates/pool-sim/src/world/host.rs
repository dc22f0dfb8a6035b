//! An instance, as its driver knows it.

use std::collections::{BTreeMap, VecDeque};

use millpond_pool_core::RequestId;
use millpond_pool_core::expiration::BoxExpiration;

use crate::item::Item;

/// Where it is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    /// The start was decided, and has not been carried out.
    #[default]
    Planned,
    Loading,
    Live,
    /// It broke: nothing happens in it any more.
    Broken,
    /// Its store is being dropped.
    Dropping,
}

#[derive(Default)]
pub(super) struct Host {
    pub(super) life: Life,
    pub(super) shared: bool,
    /// Told to end.
    pub(super) retired: bool,
    /// Has a place in its allocator.
    pub(super) place: bool,
    /// Came with the start.
    pub(super) first: Option<(RequestId, Item)>,
    /// Handed over, and not yet taken by the guest.
    pub(super) inbox: VecDeque<(RequestId, Item)>,
    pub(super) running: BTreeMap<RequestId, Run>,
    /// Its guest works on without end when all is done.
    pub(super) stuck: bool,
    pub(super) policy: Option<BoxExpiration>,
    /// The newest that the policy was polled on.
    pub(super) revision: u64,
    /// What the guest holds.
    pub(super) memory: usize,
    pub(super) resources: usize,
}

/// A request in a guest.
pub(super) struct Run {
    pub(super) _item: Item,
    pub(super) fate: Fate,
    pub(super) answered: bool,
    /// How often it will wait for the host yet, between two calls.
    pub(super) pins: u64,
    pub(super) pinned: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answer,
    NoAnswer,
    Trap,
    Exit,
    HostPanic,
    /// It waits without end.
    Hang,
    /// It computes without end.
    Spin,
    /// It computes for long, then answers.
    Compute,
    /// The body stalls.
    Stall,
    /// The guest works on without end when all is done.
    Linger,
}

impl Host {
    pub(super) fn is_done(&self) -> bool {
        self.life == Life::Live && self.running.is_empty() && self.inbox.is_empty()
    }
}

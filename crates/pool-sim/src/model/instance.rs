//! An instance, as the model keeps it until its end was reported.

use millpond_pool_core::RequestId;

use crate::agenda::Time;

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Open,
    /// It may be given nothing more.
    Closing,
    Retiring,
}

/// From a hand-over until the guest waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settling {
    pub(crate) until: Option<Time>,
    pub(crate) over: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) shared: bool,
    pub(crate) phase: Phase,
    /// Started without being tied to a request, as far as can be told: for sure if it is exclusive.
    pub(crate) ahead: bool,
    /// Known to be a spare.
    pub(crate) spare: bool,
    pub(crate) started: Time,
    /// When its start is given up.
    pub(crate) deadline: Option<Time>,
    pub(crate) requests: Vec<RequestId>,
    pub(crate) given: u64,
    pub(crate) working: bool,
    pub(crate) settling: Option<Settling>,
    pub(crate) backpressure: bool,
    /// Known from its first poll on.
    pub(crate) random: Option<f64>,
    /// Of the newest poll.
    pub(crate) revision: Option<u64>,
}

impl Instance {
    pub(crate) fn is_quiet(&self) -> bool {
        self.requests.is_empty() && !self.working
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing)
    }
}

//! A request, as the model keeps it until it is over.

use millpond_pool_core::InstanceId;

use crate::agenda::Time;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Queued,
    /// With the start of its own instance.
    Starting(InstanceId),
    Busy(InstanceId),
    /// Its guest waits for the host.
    Pinned(InstanceId),
    Streaming(InstanceId),
    /// Its outcome is known, its guest goes on.
    Abandoned(InstanceId),
}

impl Place {
    pub(crate) fn on(self) -> Option<InstanceId> {
        match self {
            Self::Queued => None,
            Self::Starting(id)
            | Self::Busy(id)
            | Self::Pinned(id)
            | Self::Streaming(id)
            | Self::Abandoned(id) => Some(id),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) place: Place,
    pub(crate) submitted: Time,
    /// When it was handed over.
    pub(crate) handed: Time,
    /// When it last left the queue.
    pub(crate) left: Time,
    /// When it is refused, fails, or its instance ends.
    pub(crate) deadline: Option<Time>,
    /// After its head, its guest was called once more.
    pub(crate) last_call: bool,
    /// Its guest was given up on.
    pub(crate) overdue: bool,
}

//! Leases: an instance is kept for its request while the guest waits for the host between two calls, also if
//! the response's head is out by then.

use std::time::Instant;

use crate::view::{InstanceId, RequestId};

use super::Pool;
use super::request::{Clock, Stage};

impl<T, H: Clone + Default> Pool<T, H> {
    /// The guest waits for the host: that is not its time.
    pub(super) fn handle_pinned(&mut self, id: InstanceId, request_id: RequestId) {
        let Some(instance) = self.instances.get_mut(id.0).filter(|i| i.is_live()) else { return };
        let Some(stage) = self.requests.stage_mut(request_id) else { return };
        match *stage {
            Stage::Busy { since, .. } => {
                *stage = Stage::Pinned { instance: id, since };
                instance.pinned = true;
            }
            Stage::Streaming { ref mut clock, .. } if matches!(clock, Clock::Body { .. }) => {
                *clock = Clock::Stopped;
            }
            _ => {}
        }
    }

    /// A frame of the body moved. If this is true, its time runs again: otherwise nothing else changes, and
    /// the body-stall policy finds the new time when it wakes.
    pub(super) fn handle_progress(&mut self, now: Instant, request_id: RequestId) -> bool {
        let Some(Stage::Streaming { clock, .. }) = self.requests.stage_mut(request_id) else {
            return false;
        };
        if let Clock::Call { .. } = clock {
            return false;
        }
        std::mem::replace(clock, Clock::Body { moved: now }) == Clock::Stopped
    }

    /// The guest goes on, and has as much time as with a new request.
    pub(super) fn handle_resumed(&mut self, now: Instant, id: InstanceId, request_id: RequestId) {
        if !self.instances.get(id.0).is_some_and(|instance| instance.is_live()) {
            return;
        }
        let deadline = now.checked_add(self.limits.request_timeout);
        let Some(stage) = self.requests.stage_mut(request_id) else { return };
        match *stage {
            Stage::Pinned { since, .. } => {
                *stage = Stage::Busy { instance: id, since, at_work: now, deadline };
            }
            // Its last call comes after its head.
            Stage::Streaming { ref mut clock, .. } if !matches!(clock, Clock::Call { .. }) => {
                *clock = Clock::Call { deadline };
            }
            _ => return,
        }
        self.arm(id, deadline);
    }
}

//! Leases: an instance is kept for its request while the guest waits for the host between two calls.

use std::time::Instant;

use crate::view::{InstanceId, Ticket};

use super::Pool;
use super::request::Stage;

impl<T, H: Clone + Default> Pool<T, H> {
    /// The guest waits for the host: that is not its time.
    pub(super) fn handle_pinned(&mut self, id: InstanceId, ticket: Ticket) {
        let Some(instance) = self.instances.get_mut(id.0).filter(|i| i.is_live()) else { return };
        if let Some(stage) = self.requests.stage_mut(ticket)
            && let Stage::Busy { since, .. } = *stage
        {
            *stage = Stage::Pinned { instance: id, since };
            instance.pinned = true;
        }
    }

    /// The guest goes on, and has as much time as with a new request.
    pub(super) fn handle_resumed(&mut self, now: Instant, id: InstanceId, ticket: Ticket) {
        if !self.instances.get(id.0).is_some_and(|instance| instance.is_live()) {
            return;
        }
        let deadline = now.checked_add(self.limits.request_timeout);
        if let Some(stage) = self.requests.stage_mut(ticket)
            && let Stage::Pinned { since, .. } = *stage
        {
            *stage = Stage::Busy { instance: id, since, at_work: now, deadline };
            self.arm(id, deadline);
        }
    }
}

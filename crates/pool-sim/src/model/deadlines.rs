//! When something must happen at the latest, by the limits in force when the time began to run.

use millpond_pool_core::{InstanceId, RequestId};

use super::{Model, Phase, Place};
use crate::agenda::Time;
use crate::duration::after;

impl Model {
    /// The clock was looked at: settling is over, and guests whose caller has left have had their
    /// time.
    pub(super) fn look_at_clock(&mut self, at: Time) {
        for instance in self.instances.values_mut() {
            if let Some(settling) = &mut instance.settling {
                settling.over |= settling.until.is_some_and(|until| until <= at);
            }
        }
        let due = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= at);
        for (_, request_id) in due.copied().collect::<Vec<_>>() {
            let Some(Place::Abandoned(id)) = self.place(request_id) else { continue };
            let overdue = self.requests[&request_id].overdue;
            if !overdue {
                self.give_up(request_id);
                self.close(id);
            }
        }
    }

    /// Its guest had its time; it may have as long again before its instance ends.
    pub(super) fn give_up(&mut self, request_id: RequestId) {
        let timeout = self.limits.request_timeout;
        let Some(request) = self.requests.get_mut(&request_id) else { return };
        request.overdue = true;
        let again = request.deadline.and_then(|at| after(at, timeout));
        self.set_deadline(request_id, again);
        let on = self.place(request_id).and_then(Place::on).and_then(|id| self.instance(id));
        if on.is_some_and(|instance| instance.phase == Phase::Retiring) {
            self.unwatch(request_id);
        }
    }

    pub(super) fn close(&mut self, id: InstanceId) {
        if let Some(instance) = self.instance_mut(id)
            && instance.phase == Phase::Open
        {
            instance.phase = Phase::Closing;
        }
    }

    pub(super) fn set_deadline(&mut self, request_id: RequestId, deadline: Option<Time>) {
        let Some(request) = self.requests.get_mut(&request_id) else { return };
        if let Some(old) = std::mem::replace(&mut request.deadline, deadline) {
            self.deadlines.remove(&(old, request_id));
        }
        self.deadlines.extend(deadline.map(|at| (at, request_id)));
    }

    /// Nothing must happen at its deadline any more, though it may in this step.
    pub(super) fn unwatch(&mut self, request_id: RequestId) {
        let deadline = self.requests.get(&request_id).and_then(|request| request.deadline);
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, request_id));
        }
    }

    pub(super) fn set_start_deadline(&mut self, id: InstanceId, deadline: Option<Time>) {
        let Some(instance) = self.instance_mut(id) else { return };
        if let Some(old) = std::mem::replace(&mut instance.deadline, deadline) {
            self.starts.remove(&(old, id));
        }
        self.starts.extend(deadline.map(|at| (at, id)));
    }
}

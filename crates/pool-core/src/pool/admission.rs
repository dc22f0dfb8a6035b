//! Requests that come and go: permits, submission, cancellation, refusal.

use std::time::Instant;

use super::Pool;
use super::action::Action;
use super::instance::Instance;
use super::request::Stage;
use crate::effect::Permit;
use crate::reason::{Outcome, Reason, Refusal};
use crate::view::RequestId;

impl<T, H: Clone + Default> Pool<T, H> {
    /// Reserves a place for one request, if there is one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Overloaded`] if there is none, [`Refusal::Draining`] if there will be none.
    pub fn handle_reserve(&mut self) -> Result<Permit, Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if self.permits_free() == 0 {
            return Err(Refusal::Overloaded);
        }
        self.reserved += 1;
        Ok(Permit(()))
    }

    /// Gives back a permit that was not spent.
    pub fn handle_release(&mut self, permit: Permit) {
        let Permit(()) = permit;
        self.reserved -= 1;
    }

    /// A request was turned away for want of a permit: counts it.
    pub fn handle_overloaded(&mut self) {
        self.counters.overloaded += 1;
    }

    /// Submits a request. It is never refused for capacity, the permit is its place; while the
    /// pool drains it is refused as [`Refusal::Draining`], by an effect.
    pub fn handle_submit(&mut self, now: Instant, permit: Permit, item: T) -> RequestId {
        let Permit(()) = permit;
        self.reserved -= 1;
        self.counters.submitted += 1;
        let request_id = if let Some(id) = self.ready_for_newcomer() {
            let request_id = self.requests.submit_served(now, self.busy_on(now, id));
            self.hand_over(now, id, request_id, item);
            request_id
        } else if self.starts_for_newcomer() {
            self.start_for_newcomer(now, item)
        } else {
            let deadline = now.checked_add(self.limits.queue_timeout);
            self.requests.submit(now, item, deadline)
        };
        if self.draining {
            self.refuse_queued(request_id, Refusal::Draining);
        } else {
            self.dispatch(now);
        }
        request_id
    }

    /// The caller of a request went away, or dropped its response body. A request that waited
    /// comes back; one on an exclusive instance ends it; one beside others is left to its guest.
    pub fn handle_cancel(&mut self, now: Instant, request_id: RequestId) -> Option<T> {
        let stage = self.requests.stage(request_id)?;
        let Some(id) = stage.instance() else {
            let item = self.requests.remove_queued(request_id);
            self.counters.count(Outcome::Cancelled);
            self.retire_idle_if_drained(now);
            return item;
        };
        let on = self.instances.get(id.0);
        let shared = on.is_some_and(|instance| instance.shared);
        let live = on.is_some_and(Instance::is_live);
        match *stage {
            Stage::Busy { .. } | Stage::Pinned { .. } if shared => {
                self.counters.count(Outcome::Cancelled);
                let stage = self.requests.stage_mut(request_id)?;
                stage.leave_to_guest(now, self.limits.request_timeout);
                let deadline = stage.deadline().filter(|_| live);
                self.arm(id, deadline);
                self.update(now, id);
            }
            Stage::Busy { .. } | Stage::Pinned { .. } | Stage::Starting { .. } => {
                self.counters.count(Outcome::Cancelled);
                self.remove_from(now, id, request_id);
                self.retire(now, id, Reason::Cancelled);
            }
            Stage::Streaming { .. } => {
                self.remove_from(now, id, request_id);
                if shared {
                    self.update(now, id);
                } else {
                    self.retire(now, id, Reason::Cancelled);
                }
            }
            Stage::Queued { .. } | Stage::Abandoned { .. } => {}
        }
        self.dispatch(now);
        self.retire_idle_if_drained(now);
        None
    }

    /// Permits that can be had now.
    pub fn permits_free(&self) -> usize {
        let taken = self.reserved + self.requests.len();
        if self.draining { 0 } else { self.limits.permits().saturating_sub(taken) }
    }

    /// Returns why no instance took a request in time.
    pub(super) fn late_refusal(&self) -> Refusal {
        let by_budget = self.account.as_ref().is_some_and(|account| account.held == 0);
        if self.room_left() == 0 {
            Refusal::Exhausted
        } else if by_budget && self.missing_seats() > 0 && self.startable() > 0 {
            Refusal::BudgetExhausted
        } else {
            Refusal::QueueTimeout
        }
    }

    pub(super) fn refuse_queued(&mut self, request_id: RequestId, refusal: Refusal) {
        if let Some(item) = self.requests.remove_queued(request_id) {
            self.refuse(request_id, item, refusal);
        }
    }

    pub(super) fn refuse(&mut self, request_id: RequestId, item: T, refusal: Refusal) {
        self.counters.count(Outcome::Refused);
        self.effects.push_back(Action::Refuse { request_id, item, refusal });
    }
}

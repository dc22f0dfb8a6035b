//! Pinning: an instance that is kept for a request between two calls is given no other request. No time
//! runs: neither the request's nor the instance's, nor that of a body of which the host has no more for
//! now. A guest's last call has all of its time.
//!
//! Kept from the reports alone, apart from the model's places.

use std::collections::BTreeMap;
use std::task::Poll;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{InstanceId, Reason, RequestId};

use super::{Check, Checked, Step, hold};
use crate::agenda::Time;
use crate::model::{Model, Place};
use crate::record::{Event, Record};

#[derive(Debug, Default)]
pub(super) struct Pinning {
    pinned: BTreeMap<RequestId, InstanceId>,
    /// Those whose body is held, on an instance that is theirs alone.
    held: BTreeMap<RequestId, InstanceId>,
    /// In this step something happened that ends instances, whatever they are kept for.
    ends: bool,
}

impl Pinning {
    fn on(&self, id: InstanceId) -> Option<RequestId> {
        let mut pinned = self.pinned.iter().filter(|(_, on)| **on == id);
        pinned.next().map(|(request_id, _)| *request_id)
    }

    /// A guest works on it, as far as its instance is not on its way out.
    fn is_worked_on(model: &Model, request_id: RequestId, id: InstanceId) -> bool {
        let live = model.instances.get(&id).is_some_and(|instance| instance.is_live());
        live && model.place(request_id) == Some(Place::Busy(id))
    }

    /// The body of a request that is alone on its instance is open.
    fn is_to_move(model: &Model, request_id: RequestId, id: InstanceId) -> bool {
        let alone = model.instances.get(&id).is_some_and(|i| i.is_live() && !i.shared);
        let open = model.place(request_id) == Some(Place::Streaming(id));
        alone && open && !model.requests[&request_id].last_call
    }

    /// A guest makes its last call on this instance, and has time for it.
    fn has_time(model: &Model, at: Time, id: InstanceId) -> bool {
        model.requests.values().any(|request| {
            request.last_call
                && request.place == Place::Streaming(id)
                && request.deadline.is_none_or(|deadline| deadline > at)
        })
    }

    fn event(&mut self, model: &Model, id: InstanceId, event: Event) {
        match event {
            Event::Pinned(request_id) if Self::is_worked_on(model, request_id, id) => {
                self.pinned.insert(request_id, id);
            }
            Event::Pinned(request_id) if Self::is_to_move(model, request_id, id) => {
                self.held.insert(request_id, id);
            }
            Event::Progress(request_id) | Event::Resumed(request_id) | Event::Ended(request_id)
                if self.held.get(&request_id) == Some(&id) =>
            {
                self.held.remove(&request_id);
            }
            Event::Resumed(request_id)
            | Event::Failed(request_id)
            | Event::Returned(request_id)
                if self.pinned.get(&request_id) == Some(&id) =>
            {
                self.pinned.remove(&request_id);
            }
            Event::Broken(_) => self.ends = true,
            Event::Dropped => {
                self.ends = true;
                self.pinned.retain(|_, on| *on != id);
                self.held.retain(|_, on| *on != id);
            }
            _ => {}
        }
    }
}

impl Check for Pinning {
    fn name(&self) -> &'static str {
        "pinning"
    }

    fn record(&mut self, model: &Model, at: Time, record: &Record) -> Checked {
        match *record {
            Record::Event(id, event) => self.event(model, id, event),
            Record::Stop => self.ends = true,
            Record::Cancel(request_id, _) | Record::Responded(request_id, _) => {
                self.ends = true;
                self.pinned.remove(&request_id);
                self.held.remove(&request_id);
            }
            Record::Verdict(id, revision, Poll::Ready(verdict)) => {
                let newest = model.instances.get(&id).and_then(|instance| instance.revision);
                if newest == Some(revision)
                    && let Expired::Retire(reason) = verdict
                {
                    let timed = matches!(reason, Reason::Idle | Reason::Timeout);
                    let held = self.held.values().any(|on| *on == id);
                    hold!(!(held && timed), "time runs for {id} ({reason}), whose body is held");
                    let kept = self.on(id).filter(|_| timed);
                    hold!(kept.is_none(), "time runs for {id} ({reason}), kept for {kept:?}");
                    self.ends = true;
                }
            }
            Record::Assign(id, request_id) => {
                let kept = self.on(id);
                hold!(kept.is_none(), "{request_id} is given to {id}, kept for {kept:?}");
            }
            Record::Fail(id, request_id, _) => {
                // With the instance, it may fail; by its time it may not.
                let live = model.instances.get(&id).is_some_and(|instance| instance.is_live());
                let kept = live && self.pinned.contains_key(&request_id);
                hold!(!kept, "{request_id} fails though {id} is kept for it");
            }
            Record::Retire(id, reason) => {
                let kept = self.on(id);
                // Beside a guest that had twice its time, or the time of its last call, it ends.
                let overdue = model.requests.values().any(|request| {
                    let called = request.last_call && request.deadline.is_some_and(|due| due <= at);
                    (request.overdue || called) && request.place.on() == Some(id)
                });
                let may = self.ends || overdue && reason == Reason::Timeout;
                let early = !may && reason == Reason::Timeout && Self::has_time(model, at, id);
                hold!(!early, "{id} ends in the middle of a last call that has time");
                hold!(kept.is_none() || may, "{id} ends ({reason}), kept for {kept:?}");
                self.pinned.retain(|_, on| *on != id);
                self.held.retain(|_, on| *on != id);
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, model: &Model, _: &Step<'_>) -> Checked {
        self.ends = false;
        for (request_id, id) in &self.pinned {
            let place = model.place(*request_id);
            hold!(
                place == Some(Place::Pinned(*id)),
                "{request_id} is pinned on {id}, and {place:?}"
            );
        }
        Ok(())
    }
}

//! What each report on an instance changes in the books.

use millpond_pool_core::{InstanceId, Ticket};

use super::apply::Applied;
use super::{Books, Phase, Place};
use crate::agenda::Time;
use crate::duration::after;
use crate::record::Event;

impl Books {
    pub(super) fn event(&mut self, at: Time, id: InstanceId, event: Event) -> Applied {
        let Some(phase) = self.instances.get(&id).map(|instance| instance.phase) else {
            let item = matches!(event, Event::Returned(_) | Event::Exhausted(Some(_)));
            self.discards += usize::from(item);
            return Ok(());
        };
        let here = |ticket| self.place(ticket).and_then(Place::on) == Some(id);
        match event {
            Event::Started if phase == Phase::Starting => self.started(at, id),
            Event::StartFailed => {
                let requests = self.instances[&id].requests.clone();
                self.remove(id);
                // The driver has told the caller, unless the pool knows better.
                for ticket in requests.into_iter().filter(|_| phase == Phase::Starting) {
                    self.outcomes.refused += 1;
                    self.over(ticket);
                }
            }
            Event::Exhausted(request) => {
                if let Some(ticket) = request {
                    self.came_back(id, ticket);
                }
                self.remove(id);
            }
            Event::Failed(ticket) if here(ticket) => {
                let place = self.place(ticket);
                if let Some(Place::Busy(_) | Place::Pinned(_) | Place::Starting(_)) = place {
                    self.outcomes.failed += 1;
                }
                self.over(ticket);
            }
            Event::Ended(ticket) if self.place(ticket) == Some(Place::Streaming(id)) => {
                self.over(ticket);
            }
            Event::Pinned(ticket) if self.place(ticket) == Some(Place::Busy(id)) => {
                if self.instances[&id].is_live() {
                    self.put(ticket, Place::Pinned(id));
                }
            }
            Event::Resumed(ticket) if self.place(ticket) == Some(Place::Pinned(id)) => {
                if self.instances[&id].is_live() {
                    self.put(ticket, Place::Busy(id));
                    self.set_deadline(ticket, after(at, self.limits.request_timeout));
                }
            }
            Event::Resumed(ticket) if self.place(ticket) == Some(Place::Streaming(id)) => {
                let live = self.instances[&id].is_live();
                let Some(request) = self.requests.get_mut(&ticket).filter(|_| live) else {
                    return Ok(());
                };
                if !std::mem::replace(&mut request.last_call, true) {
                    self.set_deadline(ticket, after(at, self.limits.request_timeout));
                }
            }
            Event::Returned(ticket) if here(ticket) => self.returned(id, ticket),
            Event::Returned(_) => self.discards += 1,
            Event::Dropped => self.remove(id),
            event => self.guest_says(id, event),
        }
        Ok(())
    }

    fn guest_says(&mut self, id: InstanceId, event: Event) {
        let requests = &self.requests;
        let busy =
            |ticket: &Ticket| matches!(requests[ticket].place, Place::Busy(_) | Place::Pinned(_));
        let Some(instance) = self.instances.get_mut(&id) else { return };
        match event {
            Event::Settled => instance.settling = None,
            Event::Backpressure(on) => instance.backpressure = on,
            Event::Quiet if !instance.requests.iter().any(busy) => {
                (instance.working, instance.settling) = (false, None);
            }
            Event::Drain(_) => self.close(id),
            _ => {}
        }
    }

    fn started(&mut self, at: Time, id: InstanceId) {
        self.set_start_deadline(id, None);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.phase = Phase::Open;
        instance.working = !instance.requests.is_empty();
        for ticket in instance.requests.clone() {
            self.put(ticket, Place::Busy(id));
            if let Some(request) = self.requests.get_mut(&ticket) {
                request.handed = at;
            }
            self.set_deadline(ticket, after(at, self.limits.request_timeout));
        }
    }

    /// With a start that found no room.
    fn came_back(&mut self, id: InstanceId, ticket: Ticket) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.requests.retain(|other| *other != ticket);
        }
        if self.requests.contains_key(&ticket) {
            self.put(ticket, Place::Queued);
        } else {
            self.discards += 1;
        }
    }

    fn returned(&mut self, id: InstanceId, ticket: Ticket) {
        let place = self.place(ticket);
        let waits = matches!(place, Some(Place::Busy(_) | Place::Pinned(_) | Place::Starting(_)));
        if waits {
            self.put(ticket, Place::Queued);
        } else {
            self.discards += 1;
            self.over(ticket);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.requests.retain(|other| *other != ticket);
            instance.given -= u64::from(waits);
            instance.working &= !instance.requests.is_empty();
        }
    }

    fn remove(&mut self, id: InstanceId) {
        self.set_start_deadline(id, None);
        if let Some(instance) = self.instances.remove(&id) {
            self.leaving -= usize::from(instance.phase == Phase::Retiring);
            self.gone += 1;
            let requests = instance.requests.clone();
            self.going = Some((id, instance));
            for ticket in requests {
                self.set_deadline(ticket, None);
                // The others' callers are told by effects.
                if let Some(Place::Streaming(_) | Place::Abandoned(_)) = self.place(ticket) {
                    self.over(ticket);
                }
            }
        }
    }
}

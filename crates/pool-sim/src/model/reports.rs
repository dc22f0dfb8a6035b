//! What each report on an instance changes in the model.

use millpond_pool_core::{InstanceId, RequestId};

use super::apply::Applied;
use super::{Model, Phase, Place};
use crate::agenda::Time;
use crate::duration::after;
use crate::record::Event;

impl Model {
    pub(super) fn event(&mut self, at: Time, id: InstanceId, event: Event) -> Applied {
        let Some(phase) = self.instances.get(&id).map(|instance| instance.phase) else {
            let item = matches!(event, Event::Returned(_) | Event::Exhausted(Some(_)));
            self.discards += usize::from(item);
            return Ok(());
        };
        let here = |request_id| self.place(request_id).and_then(Place::on) == Some(id);
        match event {
            Event::Started if phase == Phase::Starting => self.started(at, id),
            Event::StartFailed => {
                let requests = self.instances[&id].requests.clone();
                self.remove(id);
                // The driver has told the caller, unless the pool knows better.
                for request_id in requests.into_iter().filter(|_| phase == Phase::Starting) {
                    self.outcomes.refused += 1;
                    self.over(request_id);
                }
            }
            Event::Exhausted(request) => {
                if let Some(request_id) = request {
                    self.came_back(id, request_id);
                }
                self.remove(id);
            }
            Event::Failed(request_id) if here(request_id) => {
                let place = self.place(request_id);
                if let Some(Place::Busy(_) | Place::Pinned(_) | Place::Starting(_)) = place {
                    self.outcomes.failed += 1;
                }
                self.over(request_id);
            }
            Event::Ended(request_id) if self.place(request_id) == Some(Place::Streaming(id)) => {
                self.over(request_id);
            }
            Event::Pinned(request_id) if self.place(request_id) == Some(Place::Busy(id)) => {
                if self.instances[&id].is_live() {
                    self.put(request_id, Place::Pinned(id));
                }
            }
            Event::Resumed(request_id) if self.place(request_id) == Some(Place::Pinned(id)) => {
                if self.instances[&id].is_live() {
                    self.put(request_id, Place::Busy(id));
                    self.set_deadline(request_id, after(at, self.limits.request_timeout));
                }
            }
            Event::Resumed(request_id) if self.place(request_id) == Some(Place::Streaming(id)) => {
                let live = self.instances[&id].is_live();
                let Some(request) = self.requests.get_mut(&request_id).filter(|_| live) else {
                    return Ok(());
                };
                if !std::mem::replace(&mut request.last_call, true) {
                    self.set_deadline(request_id, after(at, self.limits.request_timeout));
                }
            }
            Event::Returned(request_id) if here(request_id) => self.returned(id, request_id),
            Event::Returned(_) => self.discards += 1,
            Event::Dropped => self.remove(id),
            event => self.guest_says(id, event),
        }
        Ok(())
    }

    fn guest_says(&mut self, id: InstanceId, event: Event) {
        let requests = &self.requests;
        let busy = |request_id: &RequestId| {
            matches!(requests[request_id].place, Place::Busy(_) | Place::Pinned(_))
        };
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
        for request_id in instance.requests.clone() {
            self.put(request_id, Place::Busy(id));
            if let Some(request) = self.requests.get_mut(&request_id) {
                request.handed = at;
            }
            self.set_deadline(request_id, after(at, self.limits.request_timeout));
        }
    }

    /// With a start that found no room.
    fn came_back(&mut self, id: InstanceId, request_id: RequestId) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.requests.retain(|other| *other != request_id);
        }
        if self.requests.contains_key(&request_id) {
            self.put(request_id, Place::Queued);
        } else {
            self.discards += 1;
        }
    }

    fn returned(&mut self, id: InstanceId, request_id: RequestId) {
        let place = self.place(request_id);
        let waits = matches!(place, Some(Place::Busy(_) | Place::Pinned(_) | Place::Starting(_)));
        if waits {
            self.put(request_id, Place::Queued);
        } else {
            self.discards += 1;
            self.over(request_id);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.requests.retain(|other| *other != request_id);
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
            for request_id in requests {
                self.set_deadline(request_id, None);
                // The others' callers are told by effects.
                if let Some(Place::Streaming(_) | Place::Abandoned(_)) = self.place(request_id) {
                    self.over(request_id);
                }
            }
        }
    }
}

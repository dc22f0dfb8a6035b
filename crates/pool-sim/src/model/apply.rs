//! What each record changes in the model.

use std::task::Poll;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{Failure, InstanceId, Mode, Refusal, RequestId};

use super::{Instance, Model, Phase, Place, Request, Settling};
use crate::agenda::Time;
use crate::duration::after;
use crate::record::Record;

pub(super) type Applied = Result<(), String>;

impl Model {
    /// Applies a record.
    pub(crate) fn apply(&mut self, at: Time, record: &Record) -> Applied {
        match record {
            Record::Reserve(Ok(())) => self.reserved += 1,
            Record::Release => self.reserved -= 1,
            Record::Submit(request_id) => self.submit(at, *request_id)?,
            Record::Cancel(request_id, back) => self.cancel(at, *request_id, *back)?,
            Record::Drain => self.draining = true,
            Record::Stop => (self.draining, self.stopped) = (true, true),
            Record::Limits(limits, quota) => {
                (self.limits, self.quota) = ((**limits).clone(), *quota);
            }
            Record::Event(id, event) => self.event(at, *id, *event)?,
            Record::Responded(request_id, waits) => self.responded(*request_id, *waits)?,
            Record::Verdict(id, revision, Poll::Ready(Expired::Drain(_))) => {
                if let Some(instance) = self.instances.get_mut(id)
                    && instance.revision == Some(*revision)
                    && instance.phase == Phase::Open
                {
                    instance.phase = Phase::Closing;
                }
            }
            Record::Grant => self.granted += 1,
            Record::Timeout => self.look_at_clock(at),
            Record::Start(id, mode, request) => self.start(at, *id, *mode, *request)?,
            Record::Assign(id, request_id) => self.assign(at, *id, *request_id)?,
            Record::Refuse(request_id, _) => {
                if self.place(*request_id) != Some(Place::Queued) {
                    return Err(format!("{request_id} is refused and does not wait"));
                }
                self.outcomes.refused += 1;
                self.over(*request_id);
            }
            Record::Fail(id, request_id, failure) => self.fail(*id, *request_id, *failure)?,
            Record::Retire(id, _) => self.retire(*id)?,
            Record::Gone => {
                self.gone = self.gone.checked_sub(1).ok_or("an instance is gone twice")?;
            }
            Record::Discard => {
                self.discards = self.discards.checked_sub(1).ok_or("an item is discarded twice")?;
            }
            Record::Poll { id, revision, random, spare } => {
                let instance = self
                    .instances
                    .get_mut(id)
                    .ok_or("the policy of a missing instance is polled")?;
                instance.revision = Some(*revision);
                instance.random = Some(*random);
                instance.spare |= *spare;
            }
            Record::Claim(claim) => self.claim = Some(*claim),
            Record::Reserve(Err(_))
            | Record::Overloaded
            | Record::Verdict(..)
            | Record::Wake(_)
            | Record::Reclaim
            | Record::Room => {}
        }
        Ok(())
    }

    /// The end of a step: what had to be said has been said.
    pub(crate) fn settled(&mut self) -> Applied {
        if let Some((id, gone)) = self.going.take() {
            for request_id in gone.requests {
                let place = self.place(request_id);
                if matches!(place, Some(Place::Busy(_) | Place::Pinned(_) | Place::Starting(_))) {
                    return Err(format!(
                        "{request_id} has no outcome though its instance {id} is gone"
                    ));
                }
                self.over(request_id);
            }
        }
        if self.gone > 0 || self.discards > 0 {
            return Err("the handle or the item of something that is gone did not come out".into());
        }
        Ok(())
    }

    fn submit(&mut self, at: Time, request_id: RequestId) -> Applied {
        if self.reserved == 0 {
            return Err("submitted without a permit".into());
        }
        self.reserved -= 1;
        self.submitted += 1;
        let request = Request {
            place: Place::Queued,
            submitted: at,
            handed: at,
            left: at,
            deadline: None,
            last_call: false,
            overdue: false,
        };
        if request_id.number() != self.submitted
            || self.requests.insert(request_id, request).is_some()
        {
            return Err(format!("{request_id} is not the next request_id"));
        }
        self.put(request_id, Place::Queued);
        Ok(())
    }

    fn cancel(&mut self, at: Time, request_id: RequestId, back: bool) -> Applied {
        let place = self.place(request_id);
        if back != (place == Some(Place::Queued)) {
            return Err(format!(
                "{request_id} was {place:?} when cancelled, and its item came {back}"
            ));
        }
        let Some(place) = place else { return Ok(()) };
        let shared = place.on().and_then(|id| self.instance(id)).is_some_and(|i| i.shared);
        match place {
            Place::Busy(id) if shared => {
                self.outcomes.cancelled += 1;
                self.put(request_id, Place::Abandoned(id));
            }
            Place::Pinned(id) if shared => {
                self.outcomes.cancelled += 1;
                self.put(request_id, Place::Abandoned(id));
                // It will not be resumed: its guest has its time from now.
                if self.instance(id).is_some_and(|instance| instance.is_live()) {
                    self.set_deadline(request_id, after(at, self.limits.request_timeout));
                }
            }
            Place::Queued | Place::Busy(_) | Place::Pinned(_) | Place::Starting(_) => {
                self.outcomes.cancelled += 1;
                self.over(request_id);
            }
            Place::Streaming(_) => self.over(request_id),
            Place::Abandoned(_) => {}
        }
        Ok(())
    }

    fn responded(&mut self, request_id: RequestId, waits: bool) -> Applied {
        let place = self.place(request_id);
        match place {
            Some(Place::Busy(id) | Place::Pinned(id)) if waits => {
                self.outcomes.responded += 1;
                self.put(request_id, Place::Streaming(id));
            }
            Some(Place::Abandoned(_)) if !waits => self.over(request_id),
            Some(Place::Busy(_) | Place::Pinned(_)) => {
                return Err(format!("the head of {request_id} was thrown away"));
            }
            _ if waits => return Err(format!("{request_id} got a head while {place:?}")),
            _ => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        at: Time,
        id: InstanceId,
        mode: Mode,
        request: Option<RequestId>,
    ) -> Applied {
        let shared = mode == Mode::Shared;
        let ahead = self.starts_ahead(&Record::Start(id, mode, request));
        let instance = Instance {
            shared,
            phase: Phase::Starting,
            ahead,
            spare: ahead,
            started: at,
            requests: request.into_iter().collect(),
            given: u64::from(request.is_some()),
            working: false,
            settling: None,
            backpressure: false,
            random: None,
            revision: None,
            deadline: None,
        };
        if let Some(request_id) = request {
            self.hand_over(at, request_id, Place::Starting(id))?;
        }
        if self.instances.insert(id, instance).is_some() {
            return Err(format!("instance {id} is started twice"));
        }
        self.set_start_deadline(id, after(at, self.limits.start_timeout));
        Ok(())
    }

    fn assign(&mut self, at: Time, id: InstanceId, request_id: RequestId) -> Applied {
        self.hand_over(at, request_id, Place::Busy(id))?;
        self.set_deadline(request_id, after(at, self.limits.request_timeout));
        let settle_time = self.limits.settle_time;
        let Some(instance) = self.instances.get_mut(&id) else {
            return Err(format!("{request_id} is handed to an instance that is not there"));
        };
        instance.requests.push(request_id);
        instance.given += 1;
        instance.working = true;
        if instance.shared {
            instance.settling = Some(Settling { until: after(at, settle_time), over: false });
        }
        Ok(())
    }

    fn hand_over(&mut self, at: Time, request_id: RequestId, place: Place) -> Applied {
        if self.queue.first() != Some(&request_id) {
            return Err(format!("{request_id} is handed over and is not the head of the queue"));
        }
        self.put(request_id, place);
        if let Some(request) = self.requests.get_mut(&request_id) {
            (request.handed, request.left) = (at, at);
        }
        Ok(())
    }

    fn fail(&mut self, id: InstanceId, request_id: RequestId, failure: Failure) -> Applied {
        match (failure, self.place(request_id)) {
            (Failure::RequestTimeout, Some(Place::Busy(on))) if on == id => {
                self.outcomes.failed += 1;
                self.put(request_id, Place::Abandoned(id));
                self.give_up(request_id);
                self.close(id);
            }
            (Failure::Retired(_), Some(Place::Busy(on) | Place::Pinned(on))) if on == id => {
                self.outcomes.failed += 1;
                self.over(request_id);
            }
            (Failure::Retired(_) | Failure::StartTimeout, Some(Place::Starting(on)))
                if on == id =>
            {
                self.outcomes.refused += 1;
                self.over(request_id);
            }
            (_, place) => {
                return Err(format!("{request_id} fails on {id} ({failure:?}) and is {place:?}"));
            }
        }
        Ok(())
    }

    fn retire(&mut self, id: InstanceId) -> Applied {
        let on_its_way_out = self.instances.contains_key(&id);
        match self.instance_mut(id) {
            Some(instance) if instance.phase != Phase::Retiring => {
                instance.phase = Phase::Retiring;
                let requests = instance.requests.clone();
                self.leaving += usize::from(on_its_way_out);
                // From here on the driver sees to the end.
                self.set_start_deadline(id, None);
                for request_id in requests {
                    self.unwatch(request_id);
                }
                Ok(())
            }
            other => Err(format!("instance {id} is retired while {other:?}")),
        }
    }

    pub(super) fn put(&mut self, request_id: RequestId, place: Place) {
        let Some(request) = self.requests.get_mut(&request_id) else { return };
        request.place = place;
        let submitted = request.submitted;
        match place {
            Place::Queued => {
                self.queue.insert(request_id);
                self.set_deadline(request_id, after(submitted, self.limits.queue_timeout));
            }
            Place::Starting(_) | Place::Pinned(_) | Place::Streaming(_) => {
                self.queue.remove(&request_id);
                self.set_deadline(request_id, None);
            }
            // Their time runs on.
            Place::Busy(_) | Place::Abandoned(_) => {
                self.queue.remove(&request_id);
            }
        }
    }

    pub(super) fn over(&mut self, request_id: RequestId) {
        self.set_deadline(request_id, None);
        let Some(request) = self.requests.remove(&request_id) else { return };
        self.queue.remove(&request_id);
        if let Some(instance) = request.place.on().and_then(|id| self.instance_mut(id)) {
            instance.requests.retain(|other| *other != request_id);
        }
    }

    /// Whether this refusal fits the state of the pool.
    pub(crate) fn may_refuse(&self, refusal: Refusal) -> bool {
        refusal != Refusal::Draining || self.draining
    }

    /// Returns whether this start is not tied to a request: every waiting request has a seat to come.
    pub(crate) fn starts_ahead(&self, start: &Record) -> bool {
        match start {
            Record::Start(_, Mode::Shared, None) => self.wanting() <= self.coming_for_sure(),
            Record::Start(_, _, request) => request.is_none(),
            _ => false,
        }
    }

    /// Seats that will be there soon, at least.
    fn coming_for_sure(&self) -> usize {
        // A number near 1 makes the smallest quota.
        let least = self.quota.quota(1.0);
        let soon = self.instances.values().filter(|instance| match instance.phase {
            Phase::Starting => instance.shared || instance.ahead,
            Phase::Open => self.takes_more(instance) && instance.settling.is_some_and(|s| !s.over),
            Phase::Closing | Phase::Retiring => false,
        });
        let seats = soon.map(|instance| {
            let left = least.saturating_sub(instance.given).min(usize::MAX as u64) as usize;
            self.seats_left(instance).min(left)
        });
        seats.fold(0, usize::saturating_add)
    }
}

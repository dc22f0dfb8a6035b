//! What each record changes in the books.

use std::task::Poll;

use millpond_pool_core::expiration::Expired;
use millpond_pool_core::{Failure, InstanceId, Mode, Refusal, Ticket};

use super::{Books, Instance, Phase, Place, Request, Settling};
use crate::agenda::Time;
use crate::duration::after;
use crate::record::Record;

pub(super) type Applied = Result<(), String>;

impl Books {
    /// Applies a record.
    pub(crate) fn apply(&mut self, at: Time, record: &Record) -> Applied {
        match record {
            Record::Reserve(Ok(())) => self.reserved += 1,
            Record::Release => self.reserved -= 1,
            Record::Submit(ticket) => self.submit(at, *ticket)?,
            Record::Cancel(ticket, back) => self.cancel(at, *ticket, *back)?,
            Record::Drain => self.draining = true,
            Record::Stop => (self.draining, self.stopped) = (true, true),
            Record::Limits(limits, quota) => {
                (self.limits, self.quota) = ((**limits).clone(), *quota);
            }
            Record::Event(id, event) => self.event(at, *id, *event)?,
            Record::Responded(ticket, waits) => self.responded(*ticket, *waits)?,
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
            Record::Assign(id, ticket) => self.assign(at, *id, *ticket)?,
            Record::Refuse(ticket, _) => {
                if self.place(*ticket) != Some(Place::Queued) {
                    return Err(format!("{ticket} is refused and does not wait"));
                }
                self.outcomes.refused += 1;
                self.over(*ticket);
            }
            Record::Fail(id, ticket, failure) => self.fail(*id, *ticket, *failure)?,
            Record::Retire(id, _) => self.retire(*id)?,
            Record::Gone => {
                self.gone = self.gone.checked_sub(1).ok_or("an instance is gone twice")?;
            }
            Record::Discard => {
                self.discards = self.discards.checked_sub(1).ok_or("an item is discarded twice")?;
            }
            Record::Poll { id, revision, draw, spare } => {
                let instance = self
                    .instances
                    .get_mut(id)
                    .ok_or("the policy of a missing instance is polled")?;
                instance.revision = Some(*revision);
                instance.draw = Some(*draw);
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
            for ticket in gone.requests {
                let place = self.place(ticket);
                if matches!(place, Some(Place::Busy(_) | Place::Pinned(_) | Place::Starting(_))) {
                    return Err(format!(
                        "{ticket} has no outcome though its instance {id} is gone"
                    ));
                }
                self.over(ticket);
            }
        }
        if self.gone > 0 || self.discards > 0 {
            return Err("the handle or the item of something that is gone did not come out".into());
        }
        Ok(())
    }

    fn submit(&mut self, at: Time, ticket: Ticket) -> Applied {
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
        if ticket.number() != self.submitted || self.requests.insert(ticket, request).is_some() {
            return Err(format!("{ticket} is not the next ticket"));
        }
        self.put(ticket, Place::Queued);
        Ok(())
    }

    fn cancel(&mut self, at: Time, ticket: Ticket, back: bool) -> Applied {
        let place = self.place(ticket);
        if back != (place == Some(Place::Queued)) {
            return Err(format!("{ticket} was {place:?} when cancelled, and its item came {back}"));
        }
        let Some(place) = place else { return Ok(()) };
        let shared = place.on().and_then(|id| self.instance(id)).is_some_and(|i| i.shared);
        match place {
            Place::Busy(id) if shared => {
                self.outcomes.cancelled += 1;
                self.put(ticket, Place::Abandoned(id));
            }
            Place::Pinned(id) if shared => {
                self.outcomes.cancelled += 1;
                self.put(ticket, Place::Abandoned(id));
                // It will not be resumed: its guest has its time from now.
                if self.instance(id).is_some_and(|instance| instance.is_live()) {
                    self.set_deadline(ticket, after(at, self.limits.request_timeout));
                }
            }
            Place::Queued | Place::Busy(_) | Place::Pinned(_) | Place::Starting(_) => {
                self.outcomes.cancelled += 1;
                self.over(ticket);
            }
            Place::Streaming(_) => self.over(ticket),
            Place::Abandoned(_) => {}
        }
        Ok(())
    }

    fn responded(&mut self, ticket: Ticket, waits: bool) -> Applied {
        let place = self.place(ticket);
        match place {
            Some(Place::Busy(id) | Place::Pinned(id)) if waits => {
                self.outcomes.responded += 1;
                self.put(ticket, Place::Streaming(id));
            }
            Some(Place::Abandoned(_)) if !waits => self.over(ticket),
            Some(Place::Busy(_) | Place::Pinned(_)) => {
                return Err(format!("the head of {ticket} was thrown away"));
            }
            _ if waits => return Err(format!("{ticket} got a head while {place:?}")),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, at: Time, id: InstanceId, mode: Mode, request: Option<Ticket>) -> Applied {
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
            draw: None,
            revision: None,
            deadline: None,
        };
        if let Some(ticket) = request {
            self.hand_over(at, ticket, Place::Starting(id))?;
        }
        if self.instances.insert(id, instance).is_some() {
            return Err(format!("instance {id} is started twice"));
        }
        self.set_start_deadline(id, after(at, self.limits.start_timeout));
        Ok(())
    }

    fn assign(&mut self, at: Time, id: InstanceId, ticket: Ticket) -> Applied {
        self.hand_over(at, ticket, Place::Busy(id))?;
        self.set_deadline(ticket, after(at, self.limits.request_timeout));
        let settle_time = self.limits.settle_time;
        let Some(instance) = self.instances.get_mut(&id) else {
            return Err(format!("{ticket} is handed to an instance that is not there"));
        };
        instance.requests.push(ticket);
        instance.given += 1;
        instance.working = true;
        if instance.shared {
            instance.settling = Some(Settling { until: after(at, settle_time), over: false });
        }
        Ok(())
    }

    fn hand_over(&mut self, at: Time, ticket: Ticket, place: Place) -> Applied {
        if self.queue.first() != Some(&ticket) {
            return Err(format!("{ticket} is handed over and is not the head of the queue"));
        }
        self.put(ticket, place);
        if let Some(request) = self.requests.get_mut(&ticket) {
            (request.handed, request.left) = (at, at);
        }
        Ok(())
    }

    fn fail(&mut self, id: InstanceId, ticket: Ticket, failure: Failure) -> Applied {
        match (failure, self.place(ticket)) {
            (Failure::RequestTimeout, Some(Place::Busy(on))) if on == id => {
                self.outcomes.failed += 1;
                self.put(ticket, Place::Abandoned(id));
                self.give_up(ticket);
                self.close(id);
            }
            (Failure::Retired(_), Some(Place::Busy(on) | Place::Pinned(on))) if on == id => {
                self.outcomes.failed += 1;
                self.over(ticket);
            }
            (Failure::Retired(_) | Failure::StartTimeout, Some(Place::Starting(on)))
                if on == id =>
            {
                self.outcomes.refused += 1;
                self.over(ticket);
            }
            (_, place) => {
                return Err(format!("{ticket} fails on {id} ({failure:?}) and is {place:?}"));
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
                for ticket in requests {
                    self.unwatch(ticket);
                }
                Ok(())
            }
            other => Err(format!("instance {id} is retired while {other:?}")),
        }
    }

    pub(super) fn put(&mut self, ticket: Ticket, place: Place) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        request.place = place;
        let submitted = request.submitted;
        match place {
            Place::Queued => {
                self.queue.insert(ticket);
                self.set_deadline(ticket, after(submitted, self.limits.queue_timeout));
            }
            Place::Starting(_) | Place::Pinned(_) | Place::Streaming(_) => {
                self.queue.remove(&ticket);
                self.set_deadline(ticket, None);
            }
            // Their time runs on.
            Place::Busy(_) | Place::Abandoned(_) => {
                self.queue.remove(&ticket);
            }
        }
    }

    pub(super) fn over(&mut self, ticket: Ticket) {
        self.set_deadline(ticket, None);
        let Some(request) = self.requests.remove(&ticket) else { return };
        self.queue.remove(&ticket);
        if let Some(instance) = request.place.on().and_then(|id| self.instance_mut(id)) {
            instance.requests.retain(|other| *other != ticket);
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
        // A draw near 1 makes the smallest quota.
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

//! The rig's inputs: what callers, the clock and the driver tell the pool. Each tells the ledger
//! first, then the pool, then carries out the effects.

use std::task::{Poll, Waker};
use std::time::Duration;

use millpond_pool_core::expiration::{ExpirationContext, Expired, Polled};
use millpond_pool_core::{InstanceEvent, InstanceId, Limits, Outcome, Reason, RequestId, Usage};

use super::ledger::Place;
use super::{Item, Reserved, Rig};

impl Rig {
    pub fn reserve(&mut self) -> Reserved {
        let reserved = self.pool.handle_reserve().map(|permit| self.permits.push(permit));
        self.ledger.reserved += usize::from(reserved.is_ok());
        self.settle();
        reserved
    }

    pub fn release(&mut self) {
        let permit = self.permits.pop().expect("a reserved permit");
        self.ledger.reserved -= 1;
        self.pool.handle_release(permit);
        self.settle();
    }

    /// Reserves a place and submits.
    pub fn submit(&mut self) -> u64 {
        self.reserve().expect("a place");
        self.submit_reserved()
    }

    pub fn submit_many(&mut self, many: usize) {
        for _ in 0..many {
            self.submit();
        }
    }

    pub fn submit_reserved(&mut self) -> u64 {
        let permit = self.permits.pop().expect("a reserved permit");
        let number = self.request_ids.len() as u64 + 1;
        self.ledger.submit(number);
        let item = Item { number, _alive: self.alive.clone() };
        let request_id = self.pool.handle_submit(self.ledger.now, permit, item);
        assert_eq!(request_id.number(), number);
        self.request_ids.insert(number, request_id);
        self.settle();
        number
    }

    /// The caller goes away. True: the request came back.
    pub fn cancel(&mut self, request: u64) -> bool {
        let place = self.ledger.place(request);
        let shared = |on| self.ledger.instances[&on].shared;
        match place {
            Place::Busy(on) | Place::Pinned(on) if shared(on) => {
                let timeout = self.ledger.now.checked_add(self.ledger.limits.request_timeout);
                let known = self.ledger.request(request);
                known.place = Place::Left { on, overdue: false };
                if let Place::Pinned(_) = place {
                    known.deadline = timeout;
                }
                self.ledger.outcome(request, Some(Outcome::Cancelled));
            }
            Place::Queue | Place::Starting(_) | Place::Busy(_) | Place::Pinned(_) => {
                self.ledger.over(request, Some(Outcome::Cancelled));
            }
            Place::Streaming(_) => self.ledger.over(request, None),
            Place::Left { .. } | Place::Over => {}
        }
        let item = self.pool.handle_cancel(self.ledger.now, self.request_id(request));
        let came_back = item.is_some();
        self.bin.extend(item);
        assert_eq!(came_back, place == Place::Queue, "only a queued request comes back");
        self.settle();
        came_back
    }

    /// Lets time pass without a look at the clock.
    pub fn pass(&mut self, to: Duration) {
        let now = self.instant(to);
        assert!(now >= self.ledger.now, "time does not go back");
        self.ledger.now = now;
    }

    /// Time passes, and the clock is looked at whenever the pool asked for it.
    pub fn at(&mut self, to: Duration) {
        for _ in 0..10_000 {
            match self.timeout() {
                Some(next) if next < to => self.jump(next.max(self.elapsed())),
                _ => return self.jump(to),
            }
        }
        panic!("the pool asks for the clock without end");
    }

    /// The clock is looked at now.
    pub fn look(&mut self) {
        self.jump(self.elapsed());
    }

    /// Time passes, and the clock is looked at once.
    pub fn jump(&mut self, to: Duration) {
        self.pass(to);
        self.ledger.tick(self.ledger.now);
        self.ledger.looked = true;
        self.pool.handle_timeout(self.ledger.now);
        self.settle();
        self.ledger.check_due();
    }

    pub fn usage(&mut self, instance: u64, memory: usize, resources: usize) {
        let mut usage = Usage::default();
        (usage.memory, usage.resources) = (memory, resources);
        if let Some(known) = self.ledger.instances.get_mut(&instance) {
            known.usage = usage;
        }
        self.report(instance, InstanceEvent::Usage(usage));
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.ledger.set_limits(limits.clone());
        self.pool.handle_limits(self.ledger.now, limits);
        self.settle();
    }

    pub fn drain(&mut self) {
        self.ledger.draining = true;
        self.pool.handle_drain(self.ledger.now);
        self.settle();
    }

    pub fn stop(&mut self) {
        self.ledger.draining = true;
        self.pool.handle_stop(self.ledger.now);
        self.settle();
    }

    pub fn started(&mut self, instance: u64) {
        let guests = self.ledger.guests(instance);
        let known = self.ledger.instance(instance);
        let late = known.loaded || known.retiring;
        known.loaded = true;
        if !late {
            known.open = true;
            self.ledger.found_room();
            for request in guests {
                self.ledger.hand_over(request, instance);
            }
        }
        self.report(instance, InstanceEvent::Started);
    }

    pub fn start_failed(&mut self, instance: u64) {
        let known = self.ledger.instance(instance);
        let (shared, retiring) = (known.shared && !known.spare, known.retiring);
        let lost = known.is_unused_spare() && !retiring;
        if !retiring {
            for request in self.ledger.guests(instance) {
                self.ledger.over(request, Some(Outcome::Refused));
            }
        }
        self.ledger.remove(instance);
        self.ledger.store_gone();
        if lost {
            self.ledger.spare_lost(Reason::Host);
        }
        self.ledger.blame = usize::from(shared && !retiring);
        self.report(instance, InstanceEvent::StartFailed);
    }

    /// The allocator has no room; what came with the start goes back.
    pub fn exhausted(&mut self, instance: u64) {
        let with = self.given_to.iter().find(|(_, on)| **on == instance).map(|(n, _)| *n);
        let request = with.and_then(|n| Some((self.request_id(n), self.items.remove(&n)?)));
        for request in self.ledger.guests(instance) {
            self.ledger.requeue(request);
        }
        let known = self.ledger.instance(instance);
        let lost = known.is_unused_spare() && !known.retiring;
        self.ledger.remove(instance);
        if lost {
            self.ledger.spare_lost(Reason::Host);
        }
        self.ledger.found_full();
        self.report(instance, InstanceEvent::Exhausted { request });
    }

    pub fn settled(&mut self, instance: u64) {
        if let Some(known) = self.ledger.instances.get_mut(&instance) {
            (known.settling, known.settled_by) = (false, None);
        }
        self.report(instance, InstanceEvent::Settled);
    }

    pub fn backpressure(&mut self, instance: u64, on: bool) {
        self.ledger.instance(instance).backpressure = on;
        self.report(instance, InstanceEvent::Backpressure(on));
    }

    /// True: the head goes to the caller.
    pub fn responded(&mut self, request: u64) -> bool {
        let place = self.ledger.place(request);
        let waits = match place {
            Place::Busy(on) | Place::Pinned(on) => {
                let known = self.ledger.request(request);
                (known.place, known.deadline) = (Place::Streaming(on), None);
                self.ledger.outcome(request, Some(Outcome::Responded));
                true
            }
            Place::Left { .. } => {
                self.ledger.over(request, None);
                false
            }
            _ => false,
        };
        let told = self.pool.handle_responded(self.ledger.now, self.request_id(request));
        assert_eq!(told, waits, "the head of request {request}, which is {place:?}");
        self.settle();
        told
    }

    pub fn progress(&mut self, request: u64) {
        self.report_on(request, InstanceEvent::Progress);
    }

    pub fn ended(&mut self, request: u64) {
        if let Place::Streaming(_) = self.ledger.place(request) {
            self.ledger.over(request, None);
        }
        self.report_on(request, InstanceEvent::Ended);
    }

    /// The guest waits for the host between two calls.
    pub fn pin(&mut self, request: u64) {
        if let Place::Busy(on) = self.ledger.place(request)
            && !self.ledger.instances[&on].retiring
        {
            let known = self.ledger.request(request);
            (known.place, known.deadline) = (Place::Pinned(on), None);
        }
        self.report_on(request, InstanceEvent::Pinned);
    }

    /// The guest's next call begins.
    pub fn resume(&mut self, request: u64) {
        if let Place::Pinned(on) = self.ledger.place(request)
            && !self.ledger.instances[&on].retiring
        {
            self.ledger.hand_over(request, on);
        }
        if let Place::Streaming(on) = self.ledger.place(request)
            && !self.ledger.instances[&on].retiring
            && !std::mem::replace(&mut self.ledger.request(request).last_call, true)
        {
            // Though the head is out, the guest's time runs again.
            let deadline = self.ledger.now.checked_add(self.ledger.limits.request_timeout);
            self.ledger.request(request).deadline = deadline;
        }
        self.report_on(request, InstanceEvent::Resumed);
    }

    /// The guest failed it, and its caller was told.
    pub fn failed(&mut self, request: u64) {
        match self.ledger.place(request) {
            Place::Busy(_) | Place::Pinned(_) | Place::Starting(_) => {
                self.ledger.over(request, Some(Outcome::Failed));
            }
            Place::Left { .. } | Place::Streaming(_) => self.ledger.over(request, None),
            Place::Queue | Place::Over => {}
        }
        self.report_on(request, InstanceEvent::Failed);
    }

    /// No guest has seen it: it comes back.
    pub fn returned(&mut self, request: u64) {
        let item = self.items.remove(&request).expect("a request in the driver's hands");
        let place = self.ledger.place(request);
        let waits = matches!(place, Place::Busy(_) | Place::Pinned(_) | Place::Starting(_));
        match place {
            _ if waits => self.ledger.requeue(request),
            Place::Left { .. } | Place::Streaming(_) => self.ledger.over(request, None),
            _ => {}
        }
        if let Some(on) = place.on() {
            let alone = self.ledger.guests(on).is_empty();
            let given_back = u64::from(waits);
            let instance = self.ledger.instance(on);
            instance.working &= !alone;
            instance.given -= given_back;
        }
        self.report_on(request, |request_id| InstanceEvent::Returned(request_id, item));
    }

    /// An instance that does not have it gives it back all the same.
    pub fn returned_by(&mut self, instance: u64, request: u64) {
        let item = self.items.remove(&request).expect("a request in the driver's hands");
        let request_id = self.request_id(request);
        self.report(instance, InstanceEvent::Returned(request_id, item));
    }

    pub fn quiet(&mut self, instance: u64) {
        let busy =
            |guest: &u64| matches!(self.ledger.place(*guest), Place::Busy(_) | Place::Pinned(_));
        let crossed = self.ledger.guests(instance).iter().any(busy);
        if let Some(known) = self.ledger.instances.get_mut(&instance) {
            known.working &= crossed;
            if !crossed {
                (known.settling, known.settled_by) = (false, None);
            }
        }
        self.report(instance, InstanceEvent::Quiet);
    }

    pub fn close(&mut self, instance: u64, reason: Reason) {
        self.ledger.instance(instance).closed = true;
        self.report(instance, InstanceEvent::Drain(reason));
    }

    pub fn broken(&mut self, instance: u64, reason: Reason) {
        self.ledger.instance(instance).closed = true;
        self.report(instance, InstanceEvent::Broken(reason));
    }

    pub fn dropped(&mut self, instance: u64) {
        let known = self.ledger.instance(instance);
        let lost = known.is_unused_spare() && !known.retiring;
        // One that vanishes while it starts has failed to.
        let failed = known.shared && !known.spare && !known.open && !known.retiring;
        known.retiring = true;
        self.ledger.spares.rests = false;
        if lost {
            self.ledger.spare_lost(Reason::Host);
        }
        self.ledger.remove(instance);
        self.ledger.store_gone();
        self.ledger.blame = usize::from(failed);
        self.report(instance, InstanceEvent::Dropped);
    }

    /// Head, body, and the guest is quiet.
    pub fn finish(&mut self, request: u64) {
        let on = self.ledger.place(request).on().expect("a request on an instance");
        assert!(self.responded(request));
        self.ended(request);
        self.quiet(on);
    }

    /// Answers the newest poll of an instance's policy.
    pub fn verdict(&mut self, instance: u64, verdict: Poll<Expired>, wake_at: Option<Duration>) {
        self.tell_verdict(instance, verdict);
        let revision = self.newest_poll(instance).revision;
        self.raw_verdict(instance, revision, verdict, wake_at);
    }

    /// Answers the newest poll as a policy does that looked at the load.
    pub fn watches_load(&mut self, instance: u64) {
        let polled = self.newest_poll(instance);
        let mut cx = ExpirationContext::new(self.ledger.now, &polled.view, Waker::noop());
        let _load = cx.load();
        let (id, revision, answer) = (polled.view.id, polled.revision, cx.finish(Poll::Pending));
        self.pool.handle_verdict(self.ledger.now, id, revision, answer);
        self.settle();
    }

    /// Answers some poll; the pool is expected to ignore it if it is not the newest.
    pub fn raw_verdict(
        &mut self,
        instance: u64,
        revision: u64,
        verdict: Poll<Expired>,
        wake_at: Option<Duration>,
    ) {
        let mut polled = Polled::from(verdict);
        if let Some(at) = wake_at {
            polled = polled.wake_at(self.instant(at));
        }
        self.raw_answer(instance, revision, polled);
    }

    /// The same, with all that a policy can say.
    pub fn raw_answer(&mut self, instance: u64, revision: u64, polled: Polled) {
        let id = self.id(instance);
        self.pool.handle_verdict(self.ledger.now, id, revision, polled);
        self.settle();
    }

    pub fn wake_policy(&mut self, instance: u64) {
        self.pool.handle_policy_wake(self.id(instance));
        self.settle();
    }

    /// An event as it is, on an id that need not be known to the pool.
    pub fn raw(&mut self, id: InstanceId, event: InstanceEvent<Item>) {
        self.pool.handle_instance(self.ledger.now, id, event);
        self.settle();
    }

    fn report(&mut self, instance: u64, event: InstanceEvent<Item>) {
        self.raw(self.id(instance), event);
    }

    fn report_on(&mut self, request: u64, event: impl FnOnce(RequestId) -> InstanceEvent<Item>) {
        if let Some(on) = self.given_to.get(&request) {
            self.report(*on, event(self.request_id(request)));
        }
    }
}

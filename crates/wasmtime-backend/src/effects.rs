//! Carries out what the pool decides, with wasmtime.

use std::sync::Arc;

use millpond_engine::Tokio;
use millpond_pool_core::expiration::BoxExpiration;
use millpond_pool_core::{
    Driver, Error, Failure, Instance, InstanceEvent, InstanceId, Mode, PoolHandle, Reason, Refusal,
    RequestId, Start,
};

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::reply::Job;
use crate::instance::slot::{self, Slot};
use crate::run::{exclusive, shared};

impl<H: Host> Driver for WasmDriver<H> {
    type Item = Job<H>;
    type Slot = Slot<H>;
    type Runtime = Tokio;

    fn runtime(&self) -> &Tokio {
        self.tokio()
    }

    fn expiration(&self, id: InstanceId) -> BoxExpiration {
        self.new_expiration(id)
    }

    fn start(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, start: Start<Job<H>>) {
        let slot = instance.slot();
        let shared = start.mode == Mode::Shared;
        match start.request {
            Some((request_id, job)) => {
                // The request's own future drives it.
                let reply = Arc::clone(job.reply());
                slot.wait_for(request_id, Arc::clone(&reply));
                let run = exclusive::run(pool.clone(), instance.clone(), None, request_id, job);
                match slot.begin(Box::pin(run), shared) {
                    Ok(_) => reply.drive(instance),
                    Err(run) => {
                        // No guest has seen it.
                        slot.take_waiting(request_id);
                        let reason = slot.shutdown_reason().unwrap_or(Reason::Host);
                        reply.fail(Error::from(Failure::Retired(reason)).not_started());
                        drop(run);
                    }
                }
            }
            None => {
                let begun = if shared {
                    slot.begin(Box::pin(shared::run(pool.clone(), instance.clone())), shared)
                } else {
                    slot.begin(Box::pin(exclusive::start(pool.clone(), instance.clone())), shared)
                };
                if let Ok(run) = begun {
                    self.spawn(slot::drive(pool.clone(), instance, run));
                }
            }
        }
    }

    fn assign(
        &self,
        pool: &PoolHandle<Self>,
        instance: Instance<Self>,
        request_id: RequestId,
        job: Job<H>,
    ) {
        let slot = instance.slot();
        let reply = Arc::clone(job.reply());
        slot.wait_for(request_id, Arc::clone(&reply));
        let back = if slot.is_shared() {
            let back = slot.put(request_id, job).err();
            if back.is_none() {
                // Its future helps.
                reply.drive(instance.clone());
            }
            back
        } else {
            let mut job = Some(job);
            let begun = slot.resume(|guest| {
                let job = job.take().expect("made once");
                Box::pin(exclusive::run(
                    pool.clone(),
                    instance.clone(),
                    Some(guest),
                    request_id,
                    job,
                ))
            });
            if begun.is_some() {
                reply.drive(instance.clone());
            }
            job
        };
        if let Some(job) = back {
            slot.take_waiting(request_id);
            pool.report(instance.id(), InstanceEvent::Returned(request_id, job));
        }
    }

    fn refuse(&self, _: RequestId, job: Job<H>, refusal: Refusal) {
        let (request, reply) = job.into_parts();
        reply.fail(self.failed_starts().refusal(refusal));
        drop(request);
    }

    fn fail(&self, instance: Instance<Self>, request_id: RequestId, failure: Failure) {
        if let Some(reply) = instance.slot().take_waiting(request_id) {
            reply.fail(Error::from(failure));
        }
    }

    fn retire(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, reason: Reason) {
        slot::end(pool, &instance, reason);
    }
}

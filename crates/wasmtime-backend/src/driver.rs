//! Carries out what the pool decides, with wasmtime.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond_engine::{InstantiationError, LogRate, Ticks, Tokio, lock, unlogged};
use millpond_pool_core::expiration::BoxExpiration;
use millpond_pool_core::{
    Driver, Error, ErrorKind, Failure, Instance, InstanceEvent, InstanceId, Mode, PoolHandle,
    Reason, Refusal, RequestId, Runtime, Start,
};
use wasmtime::Engine;
use wasmtime_wasi_http::handler::ProxyPre;

use crate::host::Host;
use crate::instance::fault::Fault;
use crate::instance::guest::Guest;
use crate::instance::reply::Job;
use crate::instance::slot::{self, Slot};
use crate::records::{self, Records};
use crate::run::exclusive;
use crate::run::shared;

/// Makes the policy of a new instance.
pub(crate) type MakeExpiration = Box<dyn Fn(InstanceId) -> BoxExpiration + Send + Sync>;

/// Starts that fail are logged so often.
static NOT_STARTED: LogRate = LogRate::new(20, Duration::from_secs(1));

/// The wasmtime side of a pool.
pub struct WasmDriver<H: Host> {
    host: H,
    engine: Engine,
    pre: ProxyPre<H::Data>,
    expiration: MakeExpiration,
    records: Arc<Records>,
    ticks: Ticks,
    runtime: Tokio,
    /// The newest errors of starts, for the requests that are refused because of them.
    start_error: Mutex<Option<InstantiationError>>,
    exhaustion: Mutex<Option<InstantiationError>>,
    was_exhausted: AtomicBool,
}

impl<H: Host> WasmDriver<H> {
    pub(crate) fn new(
        host: H,
        engine: Engine,
        pre: ProxyPre<H::Data>,
        expiration: MakeExpiration,
        records: Records,
        ticks: Ticks,
    ) -> Self {
        let (runtime, records) = (Tokio::current(), Arc::new(records));
        let (start_error, exhaustion, was_exhausted) = Default::default();
        Self {
            host,
            engine,
            pre,
            expiration,
            records,
            ticks,
            runtime,
            start_error,
            exhaustion,
            was_exhausted,
        }
    }

    /// For as long as a guest is polled.
    pub(crate) fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    pub(crate) fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn records(&self) -> &Arc<Records> {
        &self.records
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(task));
    }

    pub(crate) async fn start_guest(&self, id: InstanceId) -> wasmtime::Result<Guest<H>> {
        Guest::start(&self.host, &self.pre, &self.engine, &self.records, id).await
    }

    /// Keeps the error of a failed start, and makes one of it for a caller.
    pub(crate) fn start_failed(&self, fault: Fault) -> Error {
        let error = InstantiationError::new(fault.into_error());
        if let Some(more) = NOT_STARTED.allow() {
            let (error, unlogged) = (error.cause().map(records::for_log), unlogged(more));
            let error = error.map(tracing::field::display);
            tracing::error!(error, unlogged, "an instance failed to start");
        }
        *lock(&self.start_error) = Some(error.clone());
        Error::new(ErrorKind::Instantiation).with_source(error)
    }

    /// Keeps the error of a start for which the allocator had no room.
    pub(crate) fn exhausted(&self, fault: Fault) {
        let error = InstantiationError::new(fault.into_error());
        if self.was_exhausted.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "no room for another instance");
        } else {
            tracing::warn!(%error, "no room for another instance, said once: requests wait for it");
        }
        *lock(&self.exhaustion) = Some(error);
    }
}

impl<H: Host> Driver for WasmDriver<H> {
    type Item = Job<H>;
    type Slot = Slot<H>;
    type Runtime = Tokio;

    fn runtime(&self) -> &Tokio {
        &self.runtime
    }

    fn expiration(&self, id: InstanceId) -> BoxExpiration {
        (self.expiration)(id)
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
                slot.begin(Box::pin(run), shared);
                reply.drive(instance);
            }
            None => {
                if shared {
                    slot.begin(Box::pin(shared::run(pool.clone(), instance.clone())), shared);
                } else {
                    slot.begin(Box::pin(exclusive::start(pool.clone(), instance.clone())), shared);
                }
                let run = slot.run();
                self.spawn(slot::drive(pool.clone(), instance, run));
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
        let cause = match refusal {
            Refusal::StartFailed => lock(&self.start_error).clone(),
            Refusal::Exhausted => lock(&self.exhaustion).clone(),
            Refusal::BudgetExhausted => Some(InstantiationError::budget()),
            _ => None,
        };
        let mut error = Error::from(refusal);
        if let Some(cause) = cause {
            error = error.with_source(cause);
        }
        let (request, reply) = job.into_parts();
        reply.fail(error);
        drop(request);
    }

    fn fail(&self, instance: Instance<Self>, request_id: RequestId, failure: Failure) {
        if let Some(reply) = instance.slot().take_waiting(request_id) {
            reply.fail(Error::from(failure));
        }
    }

    fn retire(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, reason: Reason) {
        instance.slot().begin_shutdown(reason);
        // Not here: the caller may be polling this very guest.
        self.spawn(slot::dispose(pool.clone(), instance, reason));
    }
}

impl<H: Host> std::fmt::Debug for WasmDriver<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmDriver").finish_non_exhaustive()
    }
}

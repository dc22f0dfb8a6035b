//! Carries out what the pool decides.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond_engine::{
    InstantiationError, LogRate, Tokio, is_exhaustion, lock, printable, unlogged,
};
use millpond_pool_core::expiration::BoxExpiration;
use millpond_pool_core::{
    Driver, Error, ErrorKind, Failure, Instance, InstanceEvent, InstanceId, PoolHandle, Reason,
    Refusal, RequestId, Runtime as _, Start,
};

use crate::instance::guest::Guest;
use crate::instance::reply::Job;
use crate::instance::slot::{Fault, Slot, Starting};
use crate::module::registry::VersionRegistry;

/// Makes the policy of a new instance.
pub(crate) type MakeExpiration = Box<dyn Fn(InstanceId) -> BoxExpiration + Send + Sync>;

/// Starts that fail are logged so often.
static NOT_STARTED: LogRate = LogRate::new(20, Duration::from_secs(1));

/// The wasmtime side of a pool.
pub struct GuestDriver {
    versions: Arc<VersionRegistry>,
    expiration: MakeExpiration,
    runtime: Tokio,
    /// The newest errors of starts, for the requests that are refused because of them.
    start_error: Mutex<Option<InstantiationError>>,
    exhaustion: Mutex<Option<InstantiationError>>,
}

impl GuestDriver {
    pub(crate) fn new(versions: VersionRegistry, expiration: MakeExpiration) -> Self {
        let (versions, runtime) = (Arc::new(versions), Tokio::current());
        let (start_error, exhaustion) = Default::default();
        Self { versions, expiration, runtime, start_error, exhaustion }
    }

    pub(crate) fn versions(&self) -> &VersionRegistry {
        &self.versions
    }

    /// Starts a guest of the module that is current when it has started.
    fn starting(&self, id: InstanceId) -> Starting {
        let versions = Arc::clone(&self.versions);
        Box::pin(async move {
            loop {
                let version = versions.current();
                let guest = Guest::start(&version, Some(id)).await?;
                if versions.note_start(id, &version) {
                    return Ok(guest);
                }
            }
        })
    }

    /// Reports a request's start that is complete. It keeps its guest, though the module be replaced by now.
    pub(crate) fn started(&self, pool: &PoolHandle<Self>, id: InstanceId) {
        pool.report(id, InstanceEvent::Started);
        if !self.versions.register(id) {
            pool.report(id, InstanceEvent::Drain(Reason::Swap));
        }
    }

    /// A start came to nothing. If there was no room, its request waits on and is not told.
    pub(crate) fn not_started(&self, error: wasmtime::Error) -> Option<Error> {
        if is_exhaustion(&error) {
            let error = InstantiationError::new(error);
            tracing::debug!(%error, "no room for another instance");
            *lock(&self.exhaustion) = Some(error);
            return None;
        }
        let error = InstantiationError::new(error);
        if let Some(more) = NOT_STARTED.allow() {
            let cause = error.cause().map(|cause| printable(format_args!("{cause:?}")));
            let cause = cause.map(tracing::field::display);
            tracing::error!(
                error = cause,
                unlogged = unlogged(more),
                "an instance failed to start"
            );
        }
        *lock(&self.start_error) = Some(error.clone());
        Some(Error::new(ErrorKind::Instantiation).with_source(error))
    }
}

impl Driver for GuestDriver {
    type Item = Job;
    type Slot = Slot;
    type Runtime = Tokio;

    fn runtime(&self) -> &Tokio {
        &self.runtime
    }

    fn expiration(&self, id: InstanceId) -> BoxExpiration {
        (self.expiration)(id)
    }

    fn start(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, start: Start<Job>) {
        if !instance.slot().begin_start(self.starting(instance.id())) {
            // The request answers for itself.
            return;
        }
        match start.request {
            // The request's own future drives it.
            Some((request_id, job)) => drop(job.hand_over(request_id, instance)),
            None => self.runtime.spawn(Box::pin(start_spare(pool.clone(), instance))),
        }
    }

    fn assign(
        &self,
        pool: &PoolHandle<Self>,
        instance: Instance<Self>,
        request_id: RequestId,
        job: Job,
    ) {
        let id = instance.id();
        if let Err(job) = job.hand_over(request_id, instance) {
            pool.report(id, InstanceEvent::Returned(request_id, job));
        }
    }

    fn refuse(&self, _: RequestId, job: Job, refusal: Refusal) {
        let mut error = Error::from(refusal);
        let source = match error.kind() {
            ErrorKind::Instantiation => lock(&self.start_error).clone(),
            ErrorKind::ResourcesExhausted => lock(&self.exhaustion).clone(),
            _ => None,
        };
        if let Some(source) = source {
            error = error.with_source(source);
        }
        job.fail(error);
    }

    fn fail(&self, instance: Instance<Self>, request_id: RequestId, failure: Failure) {
        if let Some(caller) = instance.slot().take_caller(Some(request_id)) {
            caller.fail(failure.into());
        }
    }

    fn retire(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, reason: Reason) {
        instance.slot().begin_shutdown(reason);
        let pool = pool.clone();
        // Off the path of any request.
        self.runtime.spawn(Box::pin(async move {
            let seat = instance.slot().clear().await;
            let _ = millpond_engine::catch_panic(|| drop(seat));
            pool.driver().versions.unregister(instance.id());
            pool.report(instance.id(), InstanceEvent::Dropped);
            // Effects come in any order: the pool may have told a caller who was not there yet.
            if let Some(caller) = instance.slot().take_caller(None) {
                caller.fail(Failure::Retired(reason).into());
            }
        }));
    }
}

async fn start_spare(pool: PoolHandle<GuestDriver>, instance: Instance<GuestDriver>) {
    let (driver, id) = (pool.driver(), instance.id());
    match poll_fn(|cx| instance.slot().poll_spare(cx)).await {
        Ok(_) if driver.versions.register(id) => pool.report(id, InstanceEvent::Started),
        // The module was replaced meanwhile: no request is to have this one.
        Ok(_) => pool.report(id, InstanceEvent::Drain(Reason::Swap)),
        // The task that ends it reports that.
        Err(Fault::ShutDown(_)) => {}
        Err(Fault::Failed(error)) => pool.report(
            id,
            match driver.not_started(error) {
                Some(_) => InstanceEvent::StartFailed,
                None => InstanceEvent::Exhausted { request: None },
            },
        ),
    }
}

impl std::fmt::Debug for GuestDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuestDriver")
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::time::Duration;

    use millpond_pool_core::{
        Driver as _, ErrorKind, Instance, PoolHandle, Reason, RequestId, Usage,
    };

    use super::GuestDriver;
    use crate::HttpWasmPool;
    use crate::instance::lease::lease;
    use crate::instance::reply::{Job, Reply};

    const GUEST: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "handle_request") (result i64) (i64.const 1))
        (func (export "handle_response") (param i32 i32)))"#;

    /// An instance that a request was handed to, which then went away: it is ended.
    async fn ended() -> (PoolHandle<GuestDriver>, Instance<GuestDriver>, RequestId) {
        let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
        let (submitted, reply) = pool.try_submit().unwrap();
        let (handle, request_id) = (submitted.pool().clone(), submitted.request_id());
        let lease = lease(submitted, reply).await.unwrap();
        let instance = lease.instance();
        drop(lease);
        assert_eq!(instance.slot().shutdown_reason(), Some(Reason::Cancelled));
        (handle, instance, request_id)
    }

    async fn told(reply: &Reply) -> ErrorKind {
        let error = tokio::time::timeout(Duration::from_secs(30), reply.error());
        error.await.expect("the caller is told").kind()
    }

    #[tokio::test]
    async fn assigning_to_an_ended_instance_fails() {
        let (pool, instance, request_id) = ended().await;
        let reply = Arc::new(Reply::default());
        pool.driver().assign(&pool, instance, request_id, Job::new(Arc::clone(&reply)));
        assert_eq!(told(&reply).await, ErrorKind::Retired);
    }

    #[tokio::test]
    async fn a_caller_told_early_hears_of_the_end() {
        let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
        let (submitted, reply) = pool.try_submit().unwrap();
        let (handle, request_id) = (submitted.pool().clone(), submitted.request_id());
        let lease = lease(submitted, reply).await.unwrap();
        let instance = lease.instance();
        lease.finish().await.unwrap();

        // As if the pool had told it before it was there.
        let reply = Arc::new(Reply::default());
        instance.slot().set_caller(request_id, Arc::clone(&reply));
        handle.driver().retire(&handle, instance, Reason::Timeout);
        assert_eq!(told(&reply).await, ErrorKind::RequestTimeout);
    }

    #[tokio::test]
    async fn a_start_during_a_swap_keeps_its_request() {
        let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
        let (submitted, reply) = pool.try_submit().unwrap();
        let handle = submitted.pool().clone();
        let instance = reply.instance().await.unwrap();
        let started = poll_fn(|cx| instance.slot().poll_start(cx)).await;
        assert!(matches!(started, Ok(true)));
        // By another thread, before this one has reported that.
        pool.reload_bytes(GUEST).await.unwrap();
        handle.driver().started(&handle, instance.id());
        let now = pool.snapshot();
        assert_eq!((now.busy, now.failed_starts, now.retired.total()), (1, 0, 0));
        // It is of the old module, so it is its last.
        assert!(submitted.lease(instance).release(Usage::default()));
        let now = pool.snapshot();
        assert_eq!((now.responded, now.retired.get(Reason::Swap)), (1, 1));
    }

    #[tokio::test]
    async fn an_idle_instance_drops_its_last_request() {
        let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
        let (submitted, reply) = pool.try_submit().unwrap();
        let kept = Arc::downgrade(&reply);
        lease(submitted, reply).await.unwrap().finish().await.unwrap();
        assert_eq!(pool.snapshot().instances.idle, 1);
        assert!(kept.upgrade().is_none());
    }

    #[tokio::test]
    async fn an_ended_instance_starts_nothing() {
        let (pool, instance, _) = ended().await;
        let starting = pool.driver().starting(instance.id());
        assert!(!instance.slot().begin_start(starting));
    }

    #[tokio::test]
    async fn clear_is_woken_when_a_call_unlocks() {
        let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
        let (submitted, reply) = pool.try_submit().unwrap();
        let lease = lease(submitted, reply).await.unwrap();
        let instance = lease.instance();
        let slot = instance.slot();
        let mut clear = Box::pin(slot.clear());
        let begun = slot.begin_call(|guest| {
            // It is ended at this very moment.
            slot.begin_shutdown(Reason::Timeout);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(clear.as_mut().poll(&mut cx).is_pending(), "the seat is locked");
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(guest);
                unreachable!()
            })
        });
        assert!(begun.is_ok());
        let cleared = tokio::time::timeout(Duration::from_secs(30), clear).await;
        assert!(cleared.is_ok(), "it waits for ever");
    }
}

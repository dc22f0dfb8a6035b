//! Carries out what the pool decides.

use std::future::poll_fn;
use std::sync::Arc;

use millpond_engine::{FailedStarts, MakeExpiration, Tokio, catch_panic};
use millpond_pool_core::cell::CellState;
use millpond_pool_core::expiration::BoxExpiration;
use millpond_pool_core::{
    Driver, Failure, Instance, InstanceEvent, InstanceId, PoolHandle, Reason, Refusal, RequestId,
    Runtime as _, Start,
};

use crate::instance::guest::Guest;
use crate::instance::reply::Job;
use crate::instance::slot::{Done, Fault, Run, Slot};
use crate::module::registry::VersionRegistry;

/// The wasmtime side of a pool.
pub struct GuestDriver {
    versions: Arc<VersionRegistry>,
    expiration: MakeExpiration,
    runtime: Tokio,
    failed_starts: FailedStarts,
}

impl GuestDriver {
    pub(crate) fn new(versions: VersionRegistry, expiration: MakeExpiration) -> Self {
        let (versions, runtime) = (Arc::new(versions), Tokio::current());
        Self { versions, expiration, runtime, failed_starts: FailedStarts::default() }
    }

    pub(crate) fn versions(&self) -> &VersionRegistry {
        &self.versions
    }

    /// Starts a guest of the module that is current when it has started.
    fn starting(&self, id: InstanceId) -> Run {
        let versions = Arc::clone(&self.versions);
        Box::pin(async move {
            loop {
                let version = versions.current();
                let guest = match Guest::start(&version, Some(id)).await {
                    Ok(guest) => guest,
                    Err(error) => return (None, Err(error)),
                };
                if versions.note_start(id, &version) {
                    return (Some(guest), Ok(Done::Started));
                }
            }
        })
    }

    pub(crate) fn failed_starts(&self) -> &FailedStarts {
        &self.failed_starts
    }

    /// Reports a request's start that is complete. It keeps its guest, though the module be replaced by now.
    pub(crate) fn started(&self, pool: &PoolHandle<Self>, id: InstanceId) {
        pool.report(id, InstanceEvent::Started);
        if !self.versions.register(id) {
            pool.report(id, InstanceEvent::Drain(Reason::Swap));
        }
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
            None => {
                let spare = Spare { pool: pool.clone(), instance, complete: false };
                self.runtime.spawn(Box::pin(spare.start()));
            }
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
        job.fail(self.failed_starts.refusal(refusal));
    }

    fn fail(&self, instance: Instance<Self>, request_id: RequestId, failure: Failure) {
        if let Some(caller) = instance.slot().take_caller(Some(request_id)) {
            caller.fail(failure.into());
        }
    }

    fn retire(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, reason: Reason) {
        let (pool, ended) = (pool.clone(), instance.clone());
        instance.slot().end(reason, move |state| {
            let runtime = pool.driver().runtime.clone();
            let teardown = Teardown { pool, instance: ended, reason, state };
            // Off the path of any request.
            runtime.spawn(Box::pin(async move { drop(teardown) }));
        });
    }
}

/// Drops what is left of an instance, and reports that. A value, so that the end of the runtime does it too.
struct Teardown {
    pool: PoolHandle<GuestDriver>,
    instance: Instance<GuestDriver>,
    reason: Reason,
    state: CellState<Run, Guest>,
}

impl Drop for Teardown {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, CellState::Gone);
        let _ = catch_panic(|| drop(state));
        let Self { pool, instance, .. } = self;
        pool.driver().versions.unregister(instance.id());
        pool.report(instance.id(), InstanceEvent::Dropped);
        // Effects come in any order: the pool may have told a caller who was not there yet.
        if let Some(caller) = instance.slot().take_caller(None) {
            caller.fail(Failure::Retired(self.reason).into());
        }
    }
}

/// A spare's start. If the runtime ends before it is complete, the instance ends too.
struct Spare {
    pool: PoolHandle<GuestDriver>,
    instance: Instance<GuestDriver>,
    complete: bool,
}

impl Spare {
    async fn start(mut self) {
        let (pool, id) = (&self.pool, self.instance.id());
        let driver = pool.driver();
        let event = match poll_fn(|cx| self.instance.slot().poll_spare(cx)).await {
            Ok(_) if driver.versions.register(id) => Some(InstanceEvent::Started),
            // The module was replaced meanwhile: no request is to have this one.
            Ok(_) => Some(InstanceEvent::Drain(Reason::Swap)),
            // Its teardown reports that.
            Err(Fault::ShutDown(_)) => None,
            Err(Fault::Failed(error)) => Some(match driver.failed_starts.note(error) {
                Some(_) => InstanceEvent::StartFailed,
                None => InstanceEvent::Exhausted { request: None },
            }),
        };
        if let Some(event) = event {
            pool.report(id, event);
        }
        self.complete = true;
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if !self.complete {
            self.pool.driver().retire(&self.pool, self.instance.clone(), Reason::Host);
        }
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

    use super::{GuestDriver, Spare};
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
    async fn a_lost_start_ends_its_instance() {
        let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
        let (submitted, reply) = pool.try_submit().unwrap();
        let instance = reply.instance().await.unwrap();
        let pool = submitted.pool().clone();
        // As the end of the runtime drops the task, before it has been polled.
        drop(Spare { pool, instance: instance.clone(), complete: false }.start());
        assert_eq!(instance.slot().shutdown_reason(), Some(Reason::Host));
    }

    #[test]
    fn an_ended_runtime_keeps_no_instance() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pool = runtime.block_on(async {
            let pool = HttpWasmPool::builder().without_cache().from_bytes(GUEST).await.unwrap();
            let (submitted, reply) = pool.try_submit().unwrap();
            lease(submitted, reply).await.unwrap().finish().await.unwrap();
            pool
        });
        assert_eq!(pool.snapshot().instances.idle, 1);
        drop(runtime);
        drop(pool.drain());
        assert_eq!(pool.snapshot().instances.live(), 0, "it was dropped by this thread");
    }
}

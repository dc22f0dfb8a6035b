//! A guest in exclusive use by one request: its calls, and what they mean for the pool.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use millpond_engine::{LogRate, SharedError, printable, unlogged};
use millpond_pool_core::{
    Error, ErrorKind, Failure, InstanceEvent, Lease, Reason, Submitted, Usage,
};

use crate::instance::driver::GuestDriver;
use crate::instance::guest::{CtxNext, Guest, Returned};
use crate::instance::reply::{Job, Reply};
use crate::instance::slot::{Done, Fault, Run};
use crate::message::exchange::Exchange;
use crate::module::inspect::ModuleInfo;

/// What guests bring about by breaking or ending is logged so often.
static BROKE: LogRate = LogRate::new(20, Duration::from_secs(1));
static ENDED: LogRate = LogRate::new(20, Duration::from_secs(1));

/// A guest that is this request's alone. Dropping it before [`finish`](Self::finish) ends the guest.
pub(crate) struct GuestLease {
    /// `None` once the guest has broken.
    lease: Option<Lease<GuestDriver>>,
    reply: Arc<Reply>,
    usage: Usage,
    info: ModuleInfo,
}

/// Waits for the guest of a request, and starts it if that is what it takes.
pub(crate) async fn lease(
    mut request: Submitted<GuestDriver>,
    reply: Arc<Reply>,
) -> Result<GuestLease, Error> {
    loop {
        let instance = match reply.instance().await {
            Ok(instance) => instance,
            Err(error) => {
                request.over();
                return Err(error);
            }
        };
        let started = reply.or_error(|cx| instance.slot().poll_start(cx));
        let (pool, id) = (request.pool().clone(), instance.id());
        let error = match started.await {
            Ok(Ok(new)) => {
                if new {
                    pool.driver().started(&pool, id);
                }
                let lease = Some(request.lease(instance));
                let (usage, info) = Default::default();
                return Ok(GuestLease { lease, reply, usage, info });
            }
            Err(error) => error,
            Ok(Err(Fault::ShutDown(_))) => reply.error().await,
            Ok(Err(Fault::Failed(error))) => match pool.driver().failed_starts().note(error) {
                Some(error) => {
                    pool.report(id, InstanceEvent::StartFailed);
                    error
                }
                None => {
                    instance.slot().take_caller(Some(request.request_id()));
                    let again = Some((request.request_id(), Job::new(Arc::clone(&reply))));
                    pool.report(id, InstanceEvent::Exhausted { request: again });
                    continue;
                }
            },
        };
        request.over();
        return Err(error);
    }
}

impl GuestLease {
    /// What is known of the guest's module, once it has been called.
    pub(crate) fn info(&self) -> ModuleInfo {
        self.info
    }

    #[cfg(test)]
    pub(crate) fn instance(&self) -> millpond_pool_core::Instance<GuestDriver> {
        self.lease.as_ref().expect("it has not broken").instance().clone()
    }

    pub(crate) async fn handle_request(
        &mut self,
        exchange: Box<Exchange>,
    ) -> Result<(CtxNext, Box<Exchange>), Error> {
        let request_id = self.lease.as_ref().map(Lease::request_id);
        let Some(request_id) = request_id else { return Err(Error::new(ErrorKind::Retired)) };
        self.call(|mut guest| {
            Box::pin(async move {
                let returned = guest.handle_request(exchange, request_id).await;
                (Some(guest), Ok(Done::Called(returned)))
            })
        })
        .await
    }

    /// The guest waits for the next handler, or for more of the body that this one sends.
    pub(crate) fn pin(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.pin();
        }
    }

    /// Its wait is over: the second call.
    pub(crate) async fn handle_response(
        &mut self,
        exchange: Box<Exchange>,
        ctx: u32,
        error: bool,
    ) -> Result<Box<Exchange>, Error> {
        if let Some(lease) = &mut self.lease {
            lease.resume();
        }
        let called = self.call(|mut guest: Guest| {
            Box::pin(async move {
                let returned = guest.handle_response(exchange, ctx, error).await;
                (Some(guest), Ok(Done::Called(returned)))
            })
        });
        called.await.map(|(_, exchange)| exchange)
    }

    /// The response's head goes out before the guest has been called again.
    pub(crate) async fn respond(&mut self) -> Result<(), Error> {
        let responded = self.lease.as_mut().is_some_and(Lease::respond);
        if responded { Ok(()) } else { Err(self.reply.error().await) }
    }

    /// A frame of the response's body has passed.
    pub(crate) fn progress(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.progress();
        }
    }

    /// Returns why the guest is lost though nothing calls it, if it is. If not, wakes the polling task when it
    /// is.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Option<Error> {
        let lease = self.lease.as_ref()?;
        // First, so that a task that ends it from here on wakes this one.
        if let Some(error) = self.reply.poll_error(cx) {
            return Some(error);
        }
        lease.instance().slot().shutdown_reason().map(|reason| Failure::Retired(reason).into())
    }

    /// The guest has made its last call for this request: others may have it.
    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        let Some(lease) = self.lease.take() else { return Err(self.reply.error().await) };
        let (instance, request_id) = (lease.instance().clone(), lease.request_id());
        if !lease.release(self.usage) {
            return Err(self.reply.error().await);
        }
        // An instance that waits for its next request keeps nothing of this one's.
        drop(instance.slot().take_caller(Some(request_id)));
        Ok(())
    }

    async fn call(
        &mut self,
        make: impl FnOnce(Guest) -> Run,
    ) -> Result<(CtxNext, Box<Exchange>), Error> {
        let Some(lease) = &self.lease else { return Err(Error::new(ErrorKind::Retired)) };
        let slot = lease.instance().slot();
        let called = match slot.begin_call(make) {
            Ok(()) => self.reply.or_error(|cx| slot.poll_call(cx)).await?,
            Err(fault) => Err(fault),
        };
        let Returned { called, blame, usage, info } = match called {
            Ok(returned) => returned,
            Err(Fault::ShutDown(reason)) => return Err(self.shut_down(reason).await),
            // What a guest does wrong is in what it returned: this was the host.
            Err(Fault::Failed(error)) => {
                return Err(self.broken(Reason::Host, ErrorKind::HostPanic, error, None));
            }
        };
        (self.usage, self.info) = (usage, info);
        called.map_err(|error| {
            let (reason, kind) = match &blame {
                Some(blame) => (Reason::Host, blame.kind()),
                None if error.is::<wasmtime_wasi::I32Exit>() => (Reason::Exit, ErrorKind::Exit),
                None => (Reason::Trap, ErrorKind::Trap),
            };
            self.broken(reason, kind, error, blame)
        })
    }

    /// The pool ends the guest. It tells the caller who waits for a head why.
    async fn shut_down(&self, reason: Reason) -> Error {
        let responded = self.lease.as_ref().is_some_and(Lease::has_responded);
        if responded { Failure::Retired(reason).into() } else { self.reply.error().await }
    }

    /// The guest cannot go on.
    fn broken(
        &mut self,
        reason: Reason,
        kind: ErrorKind,
        error: wasmtime::Error,
        blame: Option<Error>,
    ) -> Error {
        let Some(lease) = self.lease.take() else { return Error::new(kind) };
        let (pool, id) = (lease.pool().clone(), lease.instance().id());
        let (instance, request) = (id.number(), lease.request_id().number());
        if kind == ErrorKind::Trap || kind == ErrorKind::HostPanic {
            if let Some(more) = BROKE.allow() {
                let (error, unlogged) = (printable(format_args!("{error:?}")), unlogged(more));
                tracing::error!(
                    instance.id = instance, request.id = request, retire.reason = %reason, %error,
                    unlogged, "a guest broke"
                );
            }
        } else if let Some(more) = ENDED.allow() {
            let (error, unlogged) = (printable(error.root_cause()), unlogged(more));
            tracing::info!(
                instance.id = instance, request.id = request, retire.reason = %reason, %error,
                unlogged, "a guest ended"
            );
        }
        // After the head it is the body that fails: what is left of the request is cancelled.
        if !lease.has_responded() {
            lease.failed();
        }
        pool.report(id, InstanceEvent::Broken(reason));
        blame.unwrap_or_else(|| {
            Error::new(kind).with_reason(reason).with_source(SharedError(Arc::new(error)))
        })
    }
}

impl std::fmt::Debug for GuestLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestLease").field("lease", &self.lease).finish_non_exhaustive()
    }
}

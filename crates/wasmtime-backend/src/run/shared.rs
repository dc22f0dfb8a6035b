//! Several requests, one guest: a worker runs its event loop and takes requests as it has room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::channel::oneshot;
use futures::stream::FuturesUnordered;
use http::Request;
use millpond_engine::SharedError;
use millpond_pool_core::{
    Error, ErrorKind, Instance, InstanceEvent, PoolHandle, Reason, RequestId, Usage,
};
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, Func};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::driver::WasmDriver;
use crate::host::{Host, RequestStart};
use crate::instance::fault::{Fault, guest_error, until_shutdown};
use crate::instance::guest::Guest;
use crate::instance::slot::RunEnd;
use crate::run::answers::{deliver, fail, not_started};

/// Starts the guest and serves what is put into its slot, until it shuts down or is broken.
pub(crate) async fn run<H: Host>(
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
) -> RunEnd<H> {
    let slot = instance.slot();
    let driver = pool.driver();
    let mut guest = match until_shutdown(driver, slot, Guest::start(driver, instance.id())).await {
        Ok(guest) => guest,
        Err(Fault::ShutDown) => return RunEnd::shut_down(None),
        Err(fault) => return not_started(driver, fault, None),
    };
    pool.report(instance.id(), InstanceEvent::Started);
    let worker = Worker { pool: &pool, instance: &instance };
    let Err(fault) = until_shutdown(driver, slot, worker.serve(&mut guest)).await else {
        return RunEnd::quiet(guest);
    };
    if let Fault::ShutDown = fault {
        return RunEnd::shut_down(Some(guest));
    }
    // What no guest has seen goes to another instance; the rest shares the fate of this one.
    let (reason, error) = fault.broken(slot);
    slot.begin_shutdown(reason);
    for (request_id, job) in slot.close_inbox() {
        slot.take_waiting(request_id);
        pool.report(instance.id(), InstanceEvent::Returned(request_id, job));
    }
    for (request_id, reply) in slot.take_all_waiting() {
        let mut copy = Error::new(error.kind()).with_reason(reason);
        if let Some(cause) = slot.error() {
            copy = copy.with_source(SharedError(Arc::clone(cause)));
        }
        reply.fail(copy);
        pool.report(instance.id(), InstanceEvent::Failed(request_id));
    }
    RunEnd::broken(guest, reason)
}

struct Worker<'a, H: Host> {
    pool: &'a PoolHandle<WasmDriver<H>>,
    instance: &'a Instance<WasmDriver<H>>,
}

impl<H: Host> Worker<'_, H> {
    async fn serve(&self, guest: &mut Guest<H>) -> wasmtime::Result<()> {
        let Guest { store, proxy, computes, .. } = guest;
        let proxy = &*proxy;
        let mut events = std::pin::pin!(
            store.run_concurrent(async |accessor| { self.event_loop(accessor, proxy).await })
        );
        std::future::poll_fn(|cx| {
            computes.store(false, Ordering::Relaxed);
            match events.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(result.and_then(|inner| inner)),
                Poll::Pending => {
                    // Pending because it waits, not because its tick was over: it has room.
                    if !computes.load(Ordering::Relaxed) {
                        self.settled();
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Reports what the guest holds, if that has changed.
    fn report_usage(&self, accessor: &Accessor<H::Data>, usage: &mut Usage) {
        let now = accessor.with(|mut access| H::usage(access.data_mut()));
        if std::mem::replace(usage, now) != now {
            self.pool.report(self.instance.id(), InstanceEvent::Usage(now));
        }
    }

    fn settled(&self) {
        if self.instance.slot().settle() {
            self.pool.report(self.instance.id(), InstanceEvent::Settled);
        }
    }

    /// Ends only with an error. Polled by the guest's own event loop, so it is not relied on for
    /// deadlines.
    async fn event_loop(
        &self,
        accessor: &Accessor<H::Data>,
        proxy: &Proxy,
    ) -> wasmtime::Result<()> {
        let slot = self.instance.slot();
        let mut calls = FuturesUnordered::new();
        let handle = handle_func(proxy);
        let mut accepts = true;
        let mut works = false;
        let mut usage = Usage::default();
        std::future::poll_fn(|cx: &mut Context<'_>| {
            loop {
                match calls.poll_next_unpin(cx) {
                    Poll::Ready(Some(Ok(()))) => {
                        // Not only when all is quiet: with others in between, it may never be.
                        self.report_usage(accessor, &mut usage);
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) | Poll::Pending => {}
                }
                let ready = accessor.poll_ready_for_concurrent_call(handle, cx).is_ready();
                if ready != accepts {
                    accepts = ready;
                    let event = InstanceEvent::Backpressure(!ready);
                    self.pool.report(self.instance.id(), event);
                }
                if let Some((request_id, job)) = slot.take() {
                    if !accepts {
                        // It crossed with the guest's asking for no more.
                        slot.take_waiting(request_id);
                        let back = InstanceEvent::Returned(request_id, job);
                        self.pool.report(self.instance.id(), back);
                        continue;
                    }
                    works = true;
                    if job.reply().is_over() {
                        // Its caller left, or had its 504, while this guest was computing.
                        slot.take_waiting(request_id);
                        self.pool.report(self.instance.id(), InstanceEvent::Failed(request_id));
                        continue;
                    }
                    let (request, _) = job.into_parts();
                    calls.push(call(
                        self.pool,
                        self.instance,
                        request_id,
                        accessor,
                        proxy,
                        request,
                    ));
                    continue;
                }
                if calls.is_empty() && works && accessor.poll_no_interesting_tasks(cx).is_ready() {
                    works = false;
                    self.report_usage(accessor, &mut usage);
                    self.pool.report(self.instance.id(), InstanceEvent::Quiet);
                }
                return Poll::Pending;
            }
        })
        .await
    }
}

/// Gives a guest one request and its caller the response. Ends when the guest has answered; its
/// tasks may go on. An error is the instance's, not the request's.
pub(crate) async fn call<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    request_id: RequestId,
    accessor: &Accessor<H::Data>,
    proxy: &Proxy,
    request: Request<WasiBody>,
) -> wasmtime::Result<()> {
    let (answer, answered) = oneshot::channel();
    let prepared = accessor.with(|mut access| {
        let host = pool.driver().host();
        // It has waited, and its tick is over long since.
        access.as_context_mut().set_epoch_deadline(1);
        host.on_request_start(RequestStart {
            id: instance.id(),
            request_id,
            alone: !instance.slot().is_shared(),
            store: access.as_context_mut(),
        });
        let view = <H::Data as WasiHttpView>::http;
        Prepared::new(access.as_context_mut(), proxy, request, view, answer)
    });
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // It cannot take this one (its tables are full, for instance): it takes no more, and
            // those that it has go on.
            let error = Error::new(ErrorKind::ResourcesExhausted).with_source(error);
            fail(pool, instance, request_id, error);
            pool.report(instance.id(), InstanceEvent::Drain(Reason::Host));
            return Ok(());
        }
    };
    // The pool keeps the deadlines.
    prepared.run(accessor, std::future::pending()).await?;
    match answered.await {
        Ok(Ok(response)) => deliver(pool, instance, request_id, response),
        Ok(Err(error)) => match p3_code(error) {
            Ok(code) => fail(pool, instance, request_id, guest_error(code)),
            Err(error) => return Err(error),
        },
        Err(oneshot::Canceled) => {
            fail(pool, instance, request_id, Error::new(ErrorKind::NoResponse))
        }
    }
    Ok(())
}

/// The guest's `error-code`, if that is what the error is.
fn p3_code(error: wasmtime::Error) -> Result<wasmtime_wasi_http::Error, wasmtime::Error> {
    use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
    error.downcast::<ErrorCode>().map(Into::into)
}

fn handle_func(proxy: &Proxy) -> Func {
    match proxy {
        Proxy::P3(service) => *service.wasi_http_handler().func_handle().func(),
        Proxy::P2(proxy) => *proxy.wasi_http_incoming_handler().func_handle().func(),
    }
}

//! One request, one guest: the request's own future drives it, and then its body does.

use http::Request;
use millpond_pool_core::{
    Error, ErrorKind, Failure, Instance, InstanceEvent, PoolHandle, Reason, RequestId,
};
use wasmtime::AsContextMut;
use wasmtime_wasi_http::handler::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::driver::WasmDriver;
use crate::host::{Host, RequestStart};
use crate::instance::fault::{Fault, guest_error, until_shutdown};
use crate::instance::guest::Guest;
use crate::instance::reply::Job;
use crate::instance::slot::RunEnd;
use crate::run::answers::{deliver, fail, not_started};
use crate::run::shared;

/// Starts the guest of a spare instance.
pub(crate) async fn start<H: Host>(
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
) -> RunEnd<H> {
    let driver = pool.driver();
    match until_shutdown(driver, instance.slot(), Guest::start(driver, instance.id())).await {
        Ok(guest) => RunEnd::started(guest),
        Err(Fault::ShutDown) => RunEnd::shut_down(None),
        Err(fault) => not_started(driver, fault, None),
    }
}

/// Starts the guest if there is none, and gives it one request.
pub(crate) async fn run<H: Host>(
    pool: PoolHandle<WasmDriver<H>>,
    instance: Instance<WasmDriver<H>>,
    parked: Option<Guest<H>>,
    request_id: RequestId,
    job: Job<H>,
) -> RunEnd<H> {
    let mut guest = match parked {
        Some(mut guest) => {
            guest.begin_tick();
            guest
        }
        None => {
            let driver = pool.driver();
            match until_shutdown(driver, instance.slot(), Guest::start(driver, instance.id())).await
            {
                Ok(guest) => {
                    pool.report(instance.id(), InstanceEvent::Started);
                    guest
                }
                Err(Fault::ShutDown) => {
                    // No guest has seen it.
                    instance.slot().take_waiting(request_id);
                    let reason = instance.slot().shutdown_reason().unwrap_or(Reason::Host);
                    let (_, reply) = job.into_parts();
                    reply.fail(Error::from(Failure::Retired(reason)).not_started());
                    return RunEnd::shut_down(None);
                }
                Err(fault) => {
                    instance.slot().take_waiting(request_id);
                    return not_started(driver, fault, Some((request_id, job)));
                }
            }
        }
    };
    let (request, _) = job.into_parts();
    let call = Call { pool: &pool, instance: &instance, request_id };
    let served = call.serve(&mut guest, request);
    match until_shutdown(pool.driver(), instance.slot(), served).await {
        Ok(()) => {
            // If the caller still waits, there will be no response.
            call.fail(Error::new(ErrorKind::NoResponse));
            RunEnd::quiet(guest)
        }
        Err(Fault::ShutDown) => RunEnd::shut_down(Some(guest)),
        Err(fault) => {
            let (reason, error) = fault.broken(instance.slot());
            call.fail(error);
            RunEnd::broken(guest, reason)
        }
    }
}

/// One request on one guest.
struct Call<'a, H: Host> {
    pool: &'a PoolHandle<WasmDriver<H>>,
    instance: &'a Instance<WasmDriver<H>>,
    request_id: RequestId,
}

impl<H: Host> Call<'_, H> {
    /// Ends when the guest works on nothing any more.
    async fn serve(
        &self,
        guest: &mut Guest<H>,
        request: Request<WasiBody>,
    ) -> wasmtime::Result<()> {
        let Guest { store, proxy, .. } = guest;
        match proxy {
            Proxy::P2(proxy) => {
                let host = self.pool.driver().host();
                host.on_request_start(RequestStart {
                    id: self.instance.id(),
                    request_id: self.request_id,
                    alone: true,
                    store: store.as_context_mut(),
                });
                let scheme = match request.uri().scheme_str() {
                    Some("https") => Scheme::Https,
                    _ => Scheme::Http,
                };
                let request = store.data_mut().http().new_incoming_request(scheme, request)?;
                let (pool, instance) = (self.pool.clone(), self.instance.clone());
                let request_id = self.request_id;
                let out = store.data_mut().http().new_response_outparam_from_callback(
                    move |response| match response {
                        Ok(response) => deliver(&pool, &instance, request_id, response),
                        Err(code) => {
                            fail(&pool, &instance, request_id, guest_error(code.into()));
                        }
                    },
                )?;
                proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
            }
            proxy => {
                let proxy = &*proxy;
                store
                    .run_concurrent(async |accessor| {
                        shared::call(
                            self.pool,
                            self.instance,
                            self.request_id,
                            accessor,
                            proxy,
                            request,
                        )
                        .await?;
                        std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                        Ok(())
                    })
                    .await?
            }
        }
    }

    fn fail(&self, error: Error) {
        fail(self.pool, self.instance, self.request_id, error);
    }
}

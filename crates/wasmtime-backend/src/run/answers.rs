//! What a run tells the callers of its requests.

use millpond_pool_core::{Error, ErrorKind, Instance, InstanceEvent, PoolHandle, RequestId};
use millpond_tower_adapter::response::PROXY_STATUS;
use wasmtime_wasi_http::WasiBody;

use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::body_cell::BodyCell;
use crate::instance::fault::Fault;
use crate::instance::reply::Job;
use crate::instance::slot::RunEnd;

/// A start that came to nothing: its request is told, or goes back to wait for room.
pub(crate) fn not_started<H: Host>(
    driver: &WasmDriver<H>,
    fault: Fault,
    request: Option<(RequestId, Job<H>)>,
) -> RunEnd<H> {
    let Some(error) = driver.failed_starts().note(fault.into_error()) else {
        return RunEnd::not_started(InstanceEvent::Exhausted { request });
    };
    if let Some((_, job)) = request {
        let (_, reply) = job.into_parts();
        reply.fail(error);
    }
    RunEnd::not_started(InstanceEvent::StartFailed)
}

/// Gives a guest's response to its caller, if it still waits.
pub(crate) fn deliver<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    request_id: RequestId,
    mut response: http::Response<WasiBody>,
) {
    if response.status().is_informational() {
        // HTTP/2 would wait for the final one, HTTP/1.1 take 101 for another protocol.
        let source = format!("the guest answered with status {}", response.status());
        let error = Error::new(ErrorKind::GuestError).with_status(502).with_source(source);
        return fail(pool, instance, request_id, error);
    }
    response.headers_mut().remove(PROXY_STATUS);
    let reply = instance.slot().take_waiting(request_id);
    let waits = pool.responded(request_id);
    let Some(reply) = reply else { return };
    if waits {
        let response = response.map(BodyCell::new);
        instance.slot().add_body(response.body());
        reply.respond(instance.clone(), response);
    } else {
        // Too late, if the caller is there at all; it may not have been told yet.
        reply.fail(Error::new(ErrorKind::RequestTimeout));
    }
}

/// Tells a caller that has no answer yet that there will be no response.
pub(crate) fn fail<H: Host>(
    pool: &PoolHandle<WasmDriver<H>>,
    instance: &Instance<WasmDriver<H>>,
    request_id: RequestId,
    error: Error,
) {
    if let Some(reply) = instance.slot().take_waiting(request_id) {
        reply.fail(error);
        pool.report(instance.id(), InstanceEvent::Failed(request_id));
    }
}

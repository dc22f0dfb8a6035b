//! Bodies, of the request and of the response.

use wasmtime::{Caller, Linker, Result, format_err};

use crate::host::state::GuestState;

use super::MODULE;
use super::guest_memory::{read, slice, split};

pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap_async(MODULE, "read_body", |caller, (kind, buf, limit)| {
        Box::new(read_body(caller, kind, buf, limit))
    })?;
    linker.func_wrap(MODULE, "write_body", write_body)?;
    Ok(())
}

/// Reads until the guest's buffer is full or the body has ended, so that one call says so: guests take
/// a short read without the end for an error.
async fn read_body(
    mut caller: Caller<'_, GuestState>,
    kind: u32,
    buf: u32,
    limit: u32,
) -> Result<u64> {
    if limit == 0 {
        return Err(format_err!("a body cannot be read into a buffer of 0 bytes"));
    }
    let (memory, state) = split(&mut caller)?;
    let buf = slice(memory, "body", buf, limit)?;
    let read = match kind {
        0 => state.read_request_body(buf).await?,
        1 => state.exchange()?.read_response_body(buf)?,
        _ => return Err(format_err!("there is no body kind {kind}")),
    };
    Ok(u64::from(read.end) << 32 | read.len as u64)
}

fn write_body(mut caller: Caller<'_, GuestState>, kind: u32, body: u32, len: u32) -> Result<()> {
    let (memory, state) = split(&mut caller)?;
    let bytes = read(memory, "body", body, len)?;
    match kind {
        0 => state.write_request_body(bytes),
        1 => state.write_response_body(bytes),
        _ => Err(format_err!("there is no body kind {kind}")),
    }
}

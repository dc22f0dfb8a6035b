//! What only responses have: a status.

use http::StatusCode;
use wasmtime::{Caller, Linker, Result, format_err};

use crate::host::state::GuestState;

use super::MODULE;

pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap(MODULE, "get_status_code", get_status_code)?;
    linker.func_wrap(MODULE, "set_status_code", set_status_code)?;
    Ok(())
}

fn get_status_code(mut caller: Caller<'_, GuestState>) -> Result<u32> {
    let status = caller.data_mut().exchange()?.response.status;
    Ok(status.unwrap_or(StatusCode::OK).as_u16().into())
}

fn set_status_code(mut caller: Caller<'_, GuestState>, status: u32) -> Result<()> {
    let exchange = caller.data_mut().exchange()?;
    exchange.require_response("set the status code")?;
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    // One that is not final would have the client wait for another.
    let status = status.filter(|status| !status.is_informational());
    let status = status.ok_or_else(|| format_err!("not the status code of a response"))?;
    exchange.response.status = Some(status);
    Ok(())
}

//! Headers and trailers, of the request and of the response.

use http::{HeaderName, HeaderValue};
use wasmtime::{Caller, Linker, Result, format_err};

use crate::host::state::GuestState;
use crate::message::exchange::{Kind, MAX_SET};
use crate::message::trailers::Edit;

use super::MODULE;
use super::guest_memory::{quote, read_short, split, write_all};

/// Bytes of a name: `http` takes no more either.
const NAME: u32 = 64 * 1024;
/// Bytes of a value: no more than of all together.
const VALUE: u32 = MAX_SET as u32;

pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap(MODULE, "get_header_names", get_header_names)?;
    linker.func_wrap(MODULE, "get_header_values", get_header_values)?;
    linker.func_wrap(
        MODULE,
        "set_header_value",
        |caller: Caller<'_, _>, kind, n, n_len, v, v_len| {
            change(caller, kind, (n, n_len, v, v_len), Edit::Set)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "add_header_value",
        |caller: Caller<'_, _>, kind, n, n_len, v, v_len| {
            change(caller, kind, (n, n_len, v, v_len), Edit::Add)
        },
    )?;
    linker.func_wrap(MODULE, "remove_header", remove_header)?;
    Ok(())
}

fn get_header_names(
    mut caller: Caller<'_, GuestState>,
    kind: u32,
    buf: u32,
    limit: u32,
) -> Result<u64> {
    let (memory, state) = split(&mut caller)?;
    let names = state.exchange()?.header_names(kind_of(kind)?);
    write_all(memory, "header names", buf, limit, &names)
}

fn get_header_values(
    mut caller: Caller<'_, GuestState>,
    kind: u32,
    name: u32,
    name_len: u32,
    buf: u32,
    limit: u32,
) -> Result<u64> {
    let (memory, state) = split(&mut caller)?;
    let name = name_of(read_short(memory, "header name", name, name_len, NAME)?)?;
    let values = state.exchange()?.header_values(kind_of(kind)?, &name);
    write_all(memory, "header values", buf, limit, &values)
}

/// Where the guest has a name and a value: pointer and length of each.
type NameAndValue = (u32, u32, u32, u32);

/// Reads a name and a value, and does with them what the guest asked for.
fn change(
    mut caller: Caller<'_, GuestState>,
    kind: u32,
    (name, name_len, value, value_len): NameAndValue,
    edit: fn(HeaderName, HeaderValue) -> Edit,
) -> Result<()> {
    let (memory, state) = split(&mut caller)?;
    let name = name_of(read_short(memory, "header name", name, name_len, NAME)?)?;
    let value = value_of(read_short(memory, "header value", value, value_len, VALUE)?)?;
    state.exchange()?.edit(kind_of(kind)?, edit(name, value))
}

fn remove_header(
    mut caller: Caller<'_, GuestState>,
    kind: u32,
    name: u32,
    name_len: u32,
) -> Result<()> {
    let (memory, state) = split(&mut caller)?;
    let name = name_of(read_short(memory, "header name", name, name_len, NAME)?)?;
    state.exchange()?.edit(kind_of(kind)?, Edit::Remove(name))
}

fn kind_of(kind: u32) -> Result<Kind> {
    match kind {
        0 => Ok(Kind::Request),
        1 => Ok(Kind::Response),
        2 => Ok(Kind::RequestTrailers),
        3 => Ok(Kind::ResponseTrailers),
        _ => Err(format_err!("there is no header kind {kind}")),
    }
}

fn name_of(name: &[u8]) -> Result<HeaderName> {
    HeaderName::from_bytes(name).map_err(|_| format_err!("{} is no header name", quote(name)))
}

fn value_of(value: &[u8]) -> Result<HeaderValue> {
    HeaderValue::from_bytes(value).map_err(|_| format_err!("{} is no header value", quote(value)))
}

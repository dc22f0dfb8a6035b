//! What only requests have: a method, a URI, a protocol version, a source.

use http::Method;
use wasmtime::{Caller, Linker, Result, format_err};

use crate::host::state::GuestState;
use crate::host::uri;

use super::MODULE;
use super::guest_memory::{quote, read_short, split, write};

/// Bytes of a method.
const METHOD: u32 = 256;
/// Bytes of a URI: `http` takes no more either.
const URI: u32 = 64 * 1024;

pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap(MODULE, "get_method", get_method)?;
    linker.func_wrap(MODULE, "set_method", set_method)?;
    linker.func_wrap(MODULE, "get_uri", get_uri)?;
    linker.func_wrap(MODULE, "set_uri", set_uri)?;
    linker.func_wrap(MODULE, "get_protocol_version", get_protocol_version)?;
    linker.func_wrap(MODULE, "get_source_addr", get_source_addr)?;
    Ok(())
}

fn get_method(mut caller: Caller<'_, GuestState>, buf: u32, limit: u32) -> Result<u32> {
    let (memory, state) = split(&mut caller)?;
    let method = &state.exchange()?.request.method;
    write(memory, "method", buf, limit, method.as_str().as_bytes())
}

fn set_method(mut caller: Caller<'_, GuestState>, method: u32, len: u32) -> Result<()> {
    let (memory, state) = split(&mut caller)?;
    let exchange = state.exchange()?;
    exchange.require_request_half("set the method")?;
    let method = read_short(memory, "method", method, len, METHOD)?;
    exchange.request.method =
        Method::from_bytes(method).map_err(|_| format_err!("{} is no method", quote(method)))?;
    Ok(())
}

fn get_uri(mut caller: Caller<'_, GuestState>, buf: u32, limit: u32) -> Result<u32> {
    let (memory, state) = split(&mut caller)?;
    let uri = uri::shown(&state.exchange()?.request.uri);
    write(memory, "uri", buf, limit, uri.as_bytes())
}

fn set_uri(mut caller: Caller<'_, GuestState>, uri: u32, len: u32) -> Result<()> {
    let (memory, state) = split(&mut caller)?;
    let exchange = state.exchange()?;
    exchange.require_request_half("set the uri")?;
    let uri = read_short(memory, "uri", uri, len, URI)?;
    exchange.request.uri = uri::changed(&exchange.request.uri, uri)
        .ok_or_else(|| format_err!("{} is no uri", quote(uri)))?;
    Ok(())
}

fn get_protocol_version(mut caller: Caller<'_, GuestState>, buf: u32, limit: u32) -> Result<u32> {
    let (memory, state) = split(&mut caller)?;
    // As Go writes it, which is HTTP/2.0 for HTTP/2; as `http` does.
    let version = format!("{:?}", state.exchange()?.request.version);
    write(memory, "protocol version", buf, limit, version.as_bytes())
}

fn get_source_addr(mut caller: Caller<'_, GuestState>, buf: u32, limit: u32) -> Result<u32> {
    let (memory, state) = split(&mut caller)?;
    let source = state.exchange()?.source.map_or_else(String::new, |source| source.to_string());
    write(memory, "source address", buf, limit, source.as_bytes())
}

//! The ABI: what guests import.
//!
//! The functions and their signatures are those of the [published ABI]. Where its text leaves something
//! open, or the reference host (`http-wasm-host-go`) does otherwise, this does as the reference host; the
//! crate's documentation lists where.
//!
//! [published ABI]: https://http-wasm.io/http-handler-abi/

mod admin;
mod body;
pub(crate) mod guest_memory;
mod headers;
mod request;
mod response;
pub(crate) mod state;
mod uri;
pub(crate) mod wasi;

use wasmtime::Linker;
use wasmtime_wasi::p1;

use crate::host::state::GuestState;

/// The name under which the ABI is imported.
const MODULE: &str = "http_handler";
/// The name under which WASI preview 1 is.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

/// All of the ABI's functions, and whether each shows something of a head that would go on otherwise.
const FUNCTIONS: [(&str, bool); 19] = [
    ("enable_features", false),
    ("get_config", false),
    ("log", false),
    ("log_enabled", false),
    ("get_header_names", true),
    ("get_header_values", true),
    ("set_header_value", false),
    ("add_header_value", false),
    ("remove_header", false),
    ("read_body", false),
    ("write_body", false),
    ("get_method", true),
    ("set_method", false),
    ("get_uri", true),
    ("set_uri", false),
    ("get_protocol_version", true),
    ("get_source_addr", false),
    ("get_status_code", false),
    ("set_status_code", false),
];

/// Whether there is such a function. Which ones WASI has, the linker says.
pub(crate) fn provides(module: &str, name: &str) -> bool {
    module == WASI || (module == MODULE && FUNCTIONS.iter().any(|(function, _)| *function == name))
}

/// Whether this function shows the guest a head, which must be kept for that.
pub(crate) fn shows_heads(module: &str, name: &str) -> bool {
    module == MODULE && FUNCTIONS.contains(&(name, true))
}

/// Links the ABI, and WASI for guests that want it.
pub(crate) fn link(linker: &mut Linker<GuestState>, wasi: bool) -> wasmtime::Result<()> {
    admin::link(linker)?;
    headers::link(linker)?;
    body::link(linker)?;
    request::link(linker)?;
    response::link(linker)?;
    if wasi {
        p1::add_to_linker_async(linker, GuestState::wasi)?;
    }
    Ok(())
}

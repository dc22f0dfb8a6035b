//! Features, configuration and the log.

use millpond_engine::escape::{MAX_TEXT, printable};
use tracing::Level;
use wasmtime::{Caller, Linker, Result};

use crate::host::state::GuestState;

use super::MODULE;
use super::guest_memory::{read, split, write};

pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    linker.func_wrap(MODULE, "enable_features", enable_features)?;
    linker.func_wrap(MODULE, "get_config", get_config)?;
    linker.func_wrap(MODULE, "log", log)?;
    linker.func_wrap(MODULE, "log_enabled", log_enabled)?;
    Ok(())
}

/// Enabled while the guest starts, they are for all its requests; in `handle_request`, for this one.
fn enable_features(mut caller: Caller<'_, GuestState>, features: u32) -> u32 {
    caller.data_mut().enable(features).bits()
}

fn get_config(mut caller: Caller<'_, GuestState>, buf: u32, limit: u32) -> Result<u32> {
    let (memory, state) = split(&mut caller)?;
    write(memory, "the configuration", buf, limit, state.config())
}

fn log_enabled(_: Caller<'_, GuestState>, level: i32) -> u32 {
    u32::from(match level_of(level) {
        Some(Level::DEBUG) => tracing::enabled!(target: "millpond::guest", Level::DEBUG),
        Some(Level::INFO) => tracing::enabled!(target: "millpond::guest", Level::INFO),
        Some(Level::WARN) => tracing::enabled!(target: "millpond::guest", Level::WARN),
        Some(_) => tracing::enabled!(target: "millpond::guest", Level::ERROR),
        None => false,
    })
}

fn log(mut caller: Caller<'_, GuestState>, level: i32, message: u32, len: u32) -> Result<()> {
    let Some(level) = level_of(level) else { return Ok(()) };
    let (memory, state) = split(&mut caller)?;
    let message = read(memory, "message", message, len)?;
    // What a guest says may be a client's words: it is not to look like a line of the host's.
    let message = printable(String::from_utf8_lossy(&message[..message.len().min(MAX_TEXT)]));
    if !state.may_log(&message) {
        return Ok(());
    }
    let (id, request, name) = (state.number(), state.request(), state.name());
    macro_rules! say {
        ($level:ident) => {
            tracing::event!(
                target: "millpond::guest", Level::$level,
                guest = name, instance.id = id, request.id = request, "{message}"
            )
        };
    }
    match level {
        Level::DEBUG => say!(DEBUG),
        Level::INFO => say!(INFO),
        Level::WARN => say!(WARN),
        _ => say!(ERROR),
    }
    Ok(())
}

/// `None`: not to be logged. Lower numbers say more.
fn level_of(level: i32) -> Option<Level> {
    match level {
        ..=-1 => Some(Level::DEBUG),
        0 => Some(Level::INFO),
        1 => Some(Level::WARN),
        2 => Some(Level::ERROR),
        3.. => None,
    }
}

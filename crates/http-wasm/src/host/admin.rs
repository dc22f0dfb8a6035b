//! Features, configuration and the log.

use tracing::Level;
use wasmtime::{Caller, Linker, Result};

use crate::guest::GuestState;

use super::MODULE;
use super::memory::{read, split, write};

/// A message longer than this is cut.
const MESSAGE: usize = 8 * 1024;

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
    let message = one_line(&String::from_utf8_lossy(&message[..message.len().min(MESSAGE)]));
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

/// Breaks of lines and turns of direction that are no control characters.
const SEPARATORS: [char; 11] = [
    '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
    '\u{2067}', '\u{2068}', '\u{2069}',
];

/// What a guest says may be a client's words: it is not to look like a line of the host's.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for char in message.chars() {
        if char.is_control() || SEPARATORS.contains(&char) {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
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

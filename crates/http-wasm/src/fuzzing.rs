//! What fuzzers reach. It is no interface: it changes with what it leads to.

/// Reads a module as before it is compiled.
///
/// # Errors
///
/// With what is said of it.
pub fn read_module(bytes: &[u8]) -> Result<(), String> {
    crate::module::inspect::read(bytes).map(drop).map_err(|error| error.to_string())
}

//! Logging: `tracing` events, one line each, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::error::StartError;
use crate::values::LogFormat;

/// Warnings of everybody, and what Millpond itself has to tell.
pub(crate) const DEFAULT_FILTER: &str = "warn,millpond=info";

/// Sets up logging for the whole process.
pub(crate) fn init(filter: &str, format: LogFormat) -> Result<(), StartError> {
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    let outcome = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| StartError::failed(format!("cannot set up logging: {error}")))
}

fn parse(filter: &str) -> Result<EnvFilter, StartError> {
    EnvFilter::builder().parse(filter).map_err(|error| {
        StartError::usage(format!(
            "--log '{filter}': {error}; expected LEVEL or TARGET=LEVEL, separated by commas, such as {DEFAULT_FILTER}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_filter() {
        parse(DEFAULT_FILTER).unwrap();
    }

    #[test]
    fn a_bad_filter_is_named() {
        let message = parse("millpond=loud").unwrap_err().to_string();
        assert!(message.starts_with("--log 'millpond=loud': "), "{message}");
        assert!(message.contains("expected LEVEL or TARGET=LEVEL"), "{message}");
    }
}

//! `--config FILE`: the flags in a TOML file, under their own names.
//!
//! ```toml
//! addr = "127.0.0.1:8080"
//! queue = 64
//! request-timeout = "2s"
//! env = ["MODE=production", "HOME"]
//! wasi = ["config", "config-var=tenant=one"]
//! ```
//! Relative paths are relative to where `millpond` was started, as on the command line.

use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use crate::config::args::Flags;
use crate::error::StartError;

/// Reads the file. Errors name it, the line, and the key.
pub(crate) fn read(path: &Path) -> Result<Flags, StartError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        StartError::failed(format!(
            "{}: cannot read the configuration file: {error}",
            path.display()
        ))
    })?;
    parse(&text)
        .and_then(|flags| flags.unify().map_err(|message| format!(": {message}")))
        .map_err(|rest| StartError::usage(format!("{}{rest}", path.display())))
}

/// `Err` is what follows the path: the line, if it is known, and the message.
fn parse(text: &str) -> Result<Flags, String> {
    toml::from_str(text).map_err(|error| {
        let Some(span) = error.span() else {
            return format!(": {}", error.message());
        };
        let before = text.bytes().take(span.start);
        let line = 1 + before.filter(|byte| *byte == b'\n').count();
        match key_at(text, &span) {
            Some(key) => format!(":{line}: {key}: {}", error.message()),
            None => format!(":{line}: {}", error.message()),
        }
    })
}

/// The key whose value holds `span`.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    table.get_ref().iter().find_map(|(key, value)| {
        let holds = value.span().start <= span.start && span.end <= value.span().end;
        holds.then(|| key.get_ref().to_string())
    })
}

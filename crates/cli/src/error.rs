//! Why a start was refused: one line that says what, where, and what was expected.

use std::fmt;
use std::process::ExitCode;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A start-up error. Its `Display` is always a single line.
#[derive(Debug)]
pub(crate) struct StartError {
    blame: Blame,
    message: String,
}

/// Who can mend it, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// What was asked for makes no sense: flags, or what the configuration file says. Exit code 2.
    Usage,
    /// What was asked for cannot be had: a file, an address, the system. Exit code 1.
    Environment,
}

impl StartError {
    /// The flags or the configuration ask for something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { blame: Blame::Usage, message: message.into() }
    }

    /// What was asked for could not be had.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { blame: Blame::Environment, message: message.into() }
    }

    /// 2 for usage, 1 otherwise.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.blame {
            Blame::Usage => ExitCode::from(2),
            Blame::Environment => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages of other libraries end up in here, and some of them span lines.
        let mut lines = self.message.lines().map(str::trim).filter(|line| !line.is_empty());
        if let Some(first) = lines.next() {
            f.write_str(first)?;
        }
        lines.try_for_each(|line| write!(f, " {line}"))
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_always_one_line() {
        let error = StartError::failed("app.wasm: bad magic\n\n  at offset 0\r\n");
        assert_eq!(error.to_string(), "app.wasm: bad magic at offset 0");
    }

    #[test]
    fn usage_exits_with_two() {
        assert_eq!(StartError::usage("x").exit_code(), ExitCode::from(2));
        assert_eq!(StartError::failed("x").exit_code(), ExitCode::from(1));
    }
}

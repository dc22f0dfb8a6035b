//! Logging: `tracing` events, one line each, on stderr.
//!
//! This is the one place where what guests and clients say becomes a part of the log: it is escaped here, and cut where
//! it is long. What cannot be written is lost, see [`HostStream`].

use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal as _};

use millpond::escape::{Bounded, Escaped, is_escaped};
use millpond::{HostStream, Lost};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use crate::config::settings::DEFAULT_FILTER;
use crate::config::values::LogFormat;
use crate::error::StartError;

/// Sets up logging for the whole process.
pub(crate) fn init(filter: &str, format: LogFormat) -> Result<(), StartError> {
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        // They would go around the stream that loses what it must, and panic.
        .log_internal_errors(false)
        .with_ansi(colours);
    let outcome = match format {
        LogFormat::Text => builder.fmt_fields(fields()).with_writer(Text).try_init(),
        LogFormat::Json => {
            HostStream::stderr().set_note(json_note);
            builder.json().flatten_event(true).with_writer(Json).try_init()
        }
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

/// As tracing-subscriber's own, on one line.
fn fields() -> impl for<'a> FormatFields<'a> + Clone + Send + Sync + 'static {
    use tracing_subscriber::field::MakeExt as _;
    debug_fn(field).delimited(" ")
}

fn field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let ansi = to.has_ansi_escapes();
    match field.name() {
        "message" => {}
        name if ansi => write!(to, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
        name => write!(to, "{name}=")?,
    }
    // Fails where it is cut.
    let _ = write!(Bounded::new(Escaped(to)), "{value:?}");
    Ok(())
}

/// Each event is written at once.
struct Text;

impl MakeWriter<'_> for Text {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for Text {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        HostStream::stderr().put(event.to_vec());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same for events in JSON, which has escaped some characters, but not all.
struct Json;

impl MakeWriter<'_> for Json {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for Json {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        HostStream::stderr().put(escape_json(&String::from_utf8_lossy(event)).into_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Those that JSON allows in a string are in one: outside of strings there is nothing but ASCII.
fn escape_json(event: &str) -> String {
    let mut escaped = String::with_capacity(event.len());
    for char in event.chars() {
        if char != '\n' && is_escaped(char) {
            // None of them is beyond the first 65 536.
            let _ = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

fn json_note(lost: Lost) -> String {
    let Lost { lines, bytes, .. } = lost;
    format!(
        "{{\"level\":\"WARN\",\"message\":\"lines of the log could not be written\",\"lines\":{lines},\"bytes\":{bytes},\
         \"target\":\"millpond::log\"}}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "a\n2026 ERROR millpond: forged\r\u{1b}[31m\u{9b}2J\u{2028}\u{202e}";
    const ESCAPED: &str = r"a\n2026 ERROR millpond: forged\r\u{1b}[31m\u{9b}2J\u{2028}\u{202e}";

    fn event() {
        tracing::info!(number = 3, error = %HOSTILE, quoted = HOSTILE, none = None::<u64>, "said {HOSTILE}");
    }

    fn text_of(ansi: bool, event: impl FnOnce()) -> String {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(fields())
            .without_time()
            .with_ansi(ansi)
            .with_writer(move || to.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, event);
        kept.text()
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let line = text_of(false, event);
        let quoted = format!("{HOSTILE:?}");
        let expected = format!(
            " INFO millpond_cli::process::log::tests: said {ESCAPED} number=3 error={ESCAPED} quoted={quoted}\n"
        );
        assert_eq!(line, expected);
        assert_eq!(line.chars().filter(|char| is_escaped(*char)).collect::<String>(), "\n");
    }

    #[test]
    fn colours_are_the_hosts_alone() {
        let line = text_of(true, || tracing::info!(error = %"\u{1b}[31m", "said"));
        assert!(
            line.contains("said \u{1b}[3merror\u{1b}[0m\u{1b}[2m=\u{1b}[0m\\u{1b}[31m\n"),
            "{line:?}"
        );
    }

    #[test]
    fn a_long_field_is_cut() {
        let line =
            text_of(false, || tracing::info!(error = %"x".repeat(100_000), after = 1, "said"));
        assert!(line.len() < 9000 && line.ends_with("xxx... after=1\n"), "{}", line.len());
    }

    #[test]
    fn an_event_in_json_is_one_line_of_json() {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || to.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, event);
        let line = escape_json(&kept.text());
        assert_eq!(line.chars().filter(|char| is_escaped(*char)).collect::<String>(), "\n");
        for escape in ["\\u009b", "\\u202e", "\\u2028"] {
            assert!(line.contains(escape), "{line}");
        }
        for line in [line, json_note(Lost::default())] {
            assert!(line.starts_with('{') && line.ends_with("}\n"), "{line}");
        }
    }
}

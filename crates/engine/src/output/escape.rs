//! What guests and clients say, made fit to be printed by the host.
//!
//! A line stays one line, reads from left to right and moves no cursor: what would do otherwise is
//! written as Rust writes it, `\n` or `\u{1b}`.

use std::fmt::{self, Write as _};

/// Bytes of a text after which [`printable`] cuts it.
pub const MAX_TEXT: usize = 8 * 1024;

/// Whether a character is to be escaped: controls, breaks of lines, turns of direction.
pub fn is_escaped(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes what is written through it.
#[derive(Debug)]
pub struct Escaped<W>(pub W);

impl<W: fmt::Write> fmt::Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_escaped(*char)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", char.escape_default())?;
            rest = &rest[at + char.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Lets so many bytes through, and fails then: what formats its text need not finish.
#[derive(Debug)]
pub struct Bounded<W> {
    to: W,
    left: usize,
}

impl<W: fmt::Write> Bounded<W> {
    /// Of [`MAX_TEXT`] bytes.
    pub fn new(to: W) -> Self {
        Self { to, left: MAX_TEXT }
    }
}

impl<W: fmt::Write> fmt::Write for Bounded<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left {
            self.left -= text.len();
            return self.to.write_str(text);
        }
        let end = text.floor_char_boundary(self.left);
        self.left = 0;
        self.to.write_str(&text[..end])?;
        self.to.write_str("...")?;
        Err(fmt::Error)
    }
}

/// A text of a guest or a client for the log: escaped, and cut after [`MAX_TEXT`] bytes.
pub fn printable(text: impl fmt::Display) -> String {
    let mut printable = String::new();
    // Fails where it is cut.
    let _ = write!(Bounded::new(Escaped(&mut printable)), "{text}");
    printable
}

/// Bytes that need not be text, as [`printable`] does it but whole. What is no text is written as `\xff`.
pub(crate) fn escape_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut text = String::with_capacity(chunk.valid().len());
        // A string takes everything.
        let _ = Escaped(&mut text).write_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
        into.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        let hostile =
            "a\nb\r\tc\u{1b}[31m\u{9b}2J\u{7f}\u{85}\u{2028}\u{202e}\u{2066}\u{200f}\u{61c}é\"\\";
        let expected =
            r#"a\nb\r\tc\u{1b}[31m\u{9b}2J\u{7f}\u{85}\u{2028}\u{202e}\u{2066}\u{200f}\u{61c}é"\"#;
        assert_eq!(printable(hostile), expected);
        let mut bytes = b"stderr :: ".to_vec();
        escape_bytes(b"a\x9b\xff\nb", &mut bytes);
        assert_eq!(bytes, br"stderr :: a\x9b\xff\nb");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = printable("€".repeat(MAX_TEXT));
        assert_eq!(text, format!("{}...", "€".repeat(MAX_TEXT / 3)));
        assert_eq!(printable("x".repeat(MAX_TEXT)).len(), MAX_TEXT);
    }

    #[test]
    fn formatting_stops_where_a_text_is_cut() {
        struct Endless(std::cell::Cell<usize>);
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    self.0.set(self.0.get() + 1);
                    f.write_str("0123456789")?;
                }
            }
        }
        let endless = Endless(std::cell::Cell::new(0));
        assert_eq!(printable(&endless).len(), MAX_TEXT + 3);
        assert_eq!(endless.0.get(), MAX_TEXT / 10 + 1);
    }
}

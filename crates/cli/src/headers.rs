//! `-H/--header`: request headers that the operator sets, as `wasmtime serve` does.
//!
//! A header given here replaces what the client sent under that name, before the guest sees the request; given several
//! times, all its values stand. An argument that begins with `@` names a file with one header to a line.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::values::deserialize_from_text;

/// What one `--header` says: one header, or a file full of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderArg(pub(crate) Vec<(HeaderName, HeaderValue)>);

impl FromStr for HeaderArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('@') else {
            return Ok(Self(vec![header(text)?]));
        };
        let lines = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        lines
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(index, line)| {
                header(line).map_err(|expected| format!("{path}:{}: {expected}", index + 1))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

deserialize_from_text!(HeaderArg);

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("expected 'name: value', or @FILE with one such line for each header")?;
    let name = name.trim();
    Ok((
        name.parse().map_err(|_| format!("'{name}' is not a header name"))?,
        value.trim().parse().map_err(|_| {
            format!("the value of '{name}' has characters that a header cannot carry")
        })?,
    ))
}

/// Sets the operator's headers on a request.
pub(crate) fn set(headers: &[(HeaderName, HeaderValue)], request: &mut HeaderMap) {
    // First everything out, then everything in: a name given twice keeps both of its values.
    for (name, _) in headers {
        request.remove(name);
    }
    for (name, value) in headers {
        request.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_the_client_sent_and_keeps_repetitions() {
        let mut given = Vec::new();
        for text in ["x-tenant: one", "X-Tenant:two", "x-new:  3 "] {
            given.extend(text.parse::<HeaderArg>().unwrap().0);
        }
        let mut request = HeaderMap::new();
        request.append("x-tenant", HeaderValue::from_static("forged"));
        request.append("accept", HeaderValue::from_static("*/*"));

        set(&given, &mut request);

        assert_eq!(request.get_all("x-tenant").iter().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(request["x-new"], "3");
        assert_eq!(request["accept"], "*/*");
    }

    #[test]
    fn says_what_is_wrong() {
        let message = |text: &str| text.parse::<HeaderArg>().unwrap_err();
        assert_eq!(
            message("x-tenant"),
            "expected 'name: value', or @FILE with one such line for each header"
        );
        assert_eq!(message("x y: 1"), "'x y' is not a header name");
        assert_eq!(
            message("x: a\u{1}b"),
            "the value of 'x' has characters that a header cannot carry"
        );
        assert!(message("@no/such/file").starts_with("cannot read no/such/file: "));
    }
}

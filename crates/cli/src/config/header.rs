//! `-H/--header`: request headers that the operator sets, as `wasmtime serve` does.
//!
//! A header given here replaces what the client sent under that name, before the guest sees the request; given several
//! times, all its values stand. An argument that begins with `@` names a file with one header to a line.

use std::str::FromStr;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request};
use millpond::ingress;

use crate::config::values::deserialize_from_text;

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

/// What is about a connection or says where a body ends cannot be set.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("expected 'name: value', or @FILE with one such line for each header")?;
    let name = name.trim();
    let value = value.trim();
    let name: HeaderName = name.parse().map_err(|_| format!("'{name}' is not a header name"))?;
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("'{name}' is for one connection, expected a header of the request"));
    }
    let value: HeaderValue = value
        .parse()
        .map_err(|_| format!("the value of '{name}' has characters that a header cannot carry"))?;
    if name == HOST && authority(&value).is_none() {
        return Err("'host': expected HOST or HOST:PORT".into());
    }
    Ok((name, value))
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let request = Request::builder().header(HOST, host).body(()).ok()?;
    ingress::authority(&request).ok()?
}

/// The operator's headers, ready to be set.
#[derive(Debug)]
pub(crate) struct Operator {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What they say of the host, which the URI is to say too.
    authority: Option<Authority>,
}

impl Operator {
    pub(crate) fn new(headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        let host = headers.iter().rfind(|(name, _)| *name == HOST);
        let authority = host.and_then(|(_, host)| authority(host));
        Self { headers, authority }
    }

    /// Sets them on a request.
    pub(crate) fn set<B>(&self, request: &mut Request<B>) {
        if self.headers.is_empty() {
            return;
        }
        let headers = request.headers_mut();
        // First everything out, then everything in: a name given twice keeps both of its values.
        for (name, _) in &self.headers {
            headers.remove(name);
        }
        // Behind CGI and its kin, a name with underscores is the same variable.
        let twins: Vec<_> = headers.keys().filter(|name| self.is_twin(name)).cloned().collect();
        for name in twins {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        if let Some(authority) = &self.authority {
            // It fails for no authority.
            let _ = ingress::set_authority(request.uri_mut(), authority.clone(), Scheme::HTTP);
        }
    }

    fn is_twin(&self, name: &HeaderName) -> bool {
        if !name.as_str().contains('_') {
            return false;
        }
        let dashed = name.as_str().replace('_', "-");
        self.headers.iter().any(|(ours, _)| ours.as_str().replace('_', "-") == dashed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_client_fields_keeps_repetitions() {
        let mut given = Vec::new();
        for text in ["x-tenant: one", "X-Tenant:two", "x-new:  3 "] {
            given.extend(text.parse::<HeaderArg>().unwrap().0);
        }
        let mut request = Request::new(());
        let headers = request.headers_mut();
        headers.append("x-tenant", HeaderValue::from_static("forged"));
        headers.append("x_tenant", HeaderValue::from_static("forged"));
        headers.append("accept", HeaderValue::from_static("*/*"));

        Operator::new(given).set(&mut request);

        let headers = request.headers();
        assert_eq!(headers.get_all("x-tenant").iter().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(headers["x-new"], "3");
        assert_eq!(headers["accept"], "*/*");
        assert!(!headers.contains_key("x_tenant"));
    }

    #[test]
    fn a_host_is_that_of_the_uri_too() {
        let given = "host: b.example:81".parse::<HeaderArg>().unwrap().0;
        let mut request = Request::get("http://a.example/x").body(()).unwrap();
        Operator::new(given).set(&mut request);
        assert_eq!(request.uri(), "http://b.example:81/x");
        assert_eq!(request.headers()[HOST], "b.example:81");
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
        assert_eq!(
            message("Content-Length: 5"),
            "'content-length' is for one connection, expected a header of the request"
        );
        assert_eq!(message("host: a b"), "'host': expected HOST or HOST:PORT");
        assert!(message("@no/such/file").starts_with("cannot read no/such/file: "));
    }
}

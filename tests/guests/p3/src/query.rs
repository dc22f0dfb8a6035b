//! What a request asks for: its path and the parameters in its query.

/// The parameters of a query, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Splits a path-with-query into the path and the parameters.
    pub(crate) fn split(target: &str) -> (&str, Query) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        (path, Query(pairs.collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter which has to be a number if it is there at all. Whether that holds is checked
    /// before the routes see the query, see [`Query::check`].
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Names the first parameter that should be a number and is none: a typing error in a test
    /// should not quietly become a default.
    pub(crate) fn check(&self) -> Result<(), String> {
        for name in ["ms", "n", "chunk", "length", "lie", "mib"] {
            if let Some(value) = self.get(name)
                && value.parse::<u64>().is_err()
            {
                return Err(format!("{name}={value} is not a number\n"));
            }
        }
        Ok(())
    }
}

/// Undoes percent-encoding; what is not valid encoding stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A URL as wasi:http wants it: scheme, authority, path with query.
pub(crate) fn split_url(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    Some((scheme, authority, if path.is_empty() { "/" } else { path }))
}

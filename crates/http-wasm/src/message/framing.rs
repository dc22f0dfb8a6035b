//! The headers that say how a body is framed: what a guest says of it counts for nothing, and where it has
//! changed the body, hyper says it anew.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};

/// Whether this header says where a body ends.
pub(crate) fn frames(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

/// The body is not the one that these headers were for.
pub(crate) fn strip_framing(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
}

/// How long the body is, if that is said, once.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    let mut all = headers.get_all(CONTENT_LENGTH).iter();
    let length = all.next()?.to_str().ok()?.parse().ok()?;
    all.next().is_none().then_some(length)
}

/// The body has this length. A map without room for it does not say so, which is no lie.
pub(crate) fn set_length(headers: &mut HeaderMap, length: impl Into<HeaderValue>) {
    let _ = headers.try_insert(CONTENT_LENGTH, length.into());
}

/// Says which trailers come, beside those that have been announced: without that, HTTP/1.1 sends none, nor
/// does it with a content-length.
pub(crate) fn declare_trailers(headers: &mut HeaderMap, trailers: &HeaderMap) {
    if trailers.is_empty() {
        return;
    }
    strip_framing(headers);
    let announced = |name: &HeaderName| {
        let values = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
        let mut names = values.flat_map(|names| names.split(','));
        names.any(|announced| announced.trim().eq_ignore_ascii_case(name.as_str()))
    };
    let new = trailers.keys().filter(|name| !announced(name));
    let new: Vec<_> = new.map(HeaderName::as_str).collect();
    if let Ok(names) = HeaderValue::try_from(new.join(", "))
        && !new.is_empty()
    {
        let _ = headers.try_append(TRAILER, names);
    }
}

#[cfg(test)]
mod tests {
    use http::header::TRAILER;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::declare_trailers;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        headers.iter().copied().map(pair).collect()
    }

    #[test]
    fn new_trailers_join_those_announced() {
        let mut headers = map(&[("content-length", "3"), ("trailer", "Checksum, x-other")]);
        declare_trailers(
            &mut headers,
            &map(&[("checksum", "a"), ("grpc-status", "0"), ("x-new", "1")]),
        );
        let announced: Vec<_> = headers.get_all(TRAILER).iter().collect();
        assert_eq!(announced, ["Checksum, x-other", "grpc-status, x-new"]);
        assert_eq!(headers.len(), 2, "and no content-length");
        declare_trailers(&mut headers, &map(&[("x-new", "1")]));
        assert_eq!(headers.len(), 2);
    }
}

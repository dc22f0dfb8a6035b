//! URIs as guests see them: a path and a query, percent-encoded.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// What cannot be in a request line and is encoded on behalf of a guest that did not. A `%` is left as it
/// is: only the guest knows what it means by it.
const NOT_IN_URI: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// The path and the query; `/` if there is no path.
pub(crate) fn shown(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// The URI with another path and query; the root if `to` is empty. `None` if `to` is neither absolute
/// nor `*` nor begins with a slash, or is not valid otherwise.
pub(crate) fn changed(uri: &Uri, to: &[u8]) -> Option<Uri> {
    let to: Cow<'_, str> = match to {
        [] => "/".into(),
        to => percent_encode(to, NOT_IN_URI).into(),
    };
    // A request for the server as a whole, as of OPTIONS, has a star for a path.
    let path_and_query = if to.starts_with('/') || to == "*" {
        PathAndQuery::try_from(&*to).ok()?
    } else {
        // As the reference host: of an absolute one, the path and the query count.
        let absolute: Uri = to.parse().ok()?;
        absolute.scheme()?;
        absolute.path_and_query().cloned()?
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::{changed, shown};

    fn after(to: &str) -> Option<String> {
        let uri = "http://host/old?query".parse().unwrap();
        changed(&uri, to.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn only_path_and_query_are_replaced() {
        for (to, whole) in [
            ("/v1.0/hi?name=panda", "http://host/v1.0/hi?name=panda"),
            ("", "http://host/"),
            ("/simple%26clean", "http://host/simple%26clean"),
            ("/disney?name=chip%26dale", "http://host/disney?name=chip%26dale"),
            ("//foo", "http://host//foo"),
            ("/foo?", "http://host/foo?"),
            ("/a b?q=go+language", "http://host/a%20b?q=go+language"),
            ("/a b?q=go language", "http://host/a%20b?q=go%20language"),
            ("/ü", "http://host/%C3%BC"),
            ("https://elsewhere/there?x", "http://host/there?x"),
        ] {
            assert_eq!(after(to).as_deref(), Some(whole), "{to}");
        }
        assert_eq!(after("foo"), None);
        assert_eq!(after("*/x"), None);
    }

    #[test]
    fn a_request_can_be_for_the_whole_server() {
        let uri = changed(&"/old?query".parse().unwrap(), b"*").unwrap();
        assert_eq!((uri.to_string(), shown(&uri)), ("*".to_owned(), "*"));
        let uri = changed(&"http://host/old".parse().unwrap(), b"*").unwrap();
        assert_eq!((uri.path(), shown(&uri)), ("*", "*"));
    }

    #[test]
    fn what_has_no_path_is_shown_as_the_root() {
        let shown_of = |uri: &str| shown(&uri.parse().unwrap()).to_owned();
        assert_eq!(shown_of("http://host"), "/");
        assert_eq!(shown_of("/animal?name=panda"), "/animal?name=panda");
        assert_eq!(shown_of("http://host/simple%26clean"), "/simple%26clean");
    }
}

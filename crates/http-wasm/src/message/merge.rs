//! What the guest said before the next handler, and what that handler answered: one response.

use http::header::{
    HeaderName, LINK, MaxSizeReached, PROXY_AUTHENTICATE, SET_COOKIE, VARY, VIA, WARNING,
    WWW_AUTHENTICATE,
};
use http::response;

use crate::message::exchange::Head;
use crate::message::framing::strip_framing;

/// Fields of which handlers *add* one, beside what is there. Other fields are *set*: the last one to do so
/// wins.
const ADDED: [HeaderName; 8] = [
    LINK,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("server-timing"),
    SET_COOKIE,
    VARY,
    VIA,
    WARNING,
    WWW_AUTHENTICATE,
];

/// Puts what the next handler answered over what the guest had set. Its headers replace the guest's of
/// the same name, except for those that are added to. The guest's status stays, as with the reference host:
/// a refusal does not hide behind the handler's 200. Fails if both together are more fields than fit.
pub(crate) fn merge(guest: &mut Head, inner: &mut response::Parts) -> Result<(), MaxSizeReached> {
    inner.status = *guest.status.get_or_insert(inner.status);
    if guest.headers.is_empty() {
        return Ok(());
    }
    let mut merged = std::mem::take(&mut guest.headers);
    // The body is not the guest's.
    strip_framing(&mut merged);
    let answered = std::mem::take(&mut inner.headers);
    for name in answered.keys() {
        if !ADDED.contains(name) {
            merged.remove(name);
        }
    }
    let mut last = None;
    for (name, value) in answered {
        // A name comes with its first value only.
        last = name.or(last);
        if let Some(name) = &last {
            merged.try_append(name, value)?;
        }
    }
    inner.headers = merged;
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, SERVER, SET_COOKIE};
    use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

    use super::merge;
    use crate::message::exchange::Head;

    fn map(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    fn values(map: &HeaderMap, name: HeaderName) -> Vec<&str> {
        map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn set_replaces_and_add_appends() {
        let headers = map(&[(CONTENT_TYPE, "guest"), (SET_COOKIE, "guest"), (SERVER, "guest")]);
        let mut guest = Head { status: None, headers };
        let mut inner = Response::new(()).into_parts().0;
        inner.headers = map(&[(SET_COOKIE, "a"), (SET_COOKIE, "b"), (CONTENT_TYPE, "inner")]);
        merge(&mut guest, &mut inner).unwrap();
        assert_eq!(values(&inner.headers, CONTENT_TYPE), ["inner"]);
        assert_eq!(values(&inner.headers, SET_COOKIE), ["guest", "a", "b"]);
        assert_eq!(values(&inner.headers, SERVER), ["guest"]);
    }

    #[test]
    fn the_guests_status_stays() {
        let mut inner = Response::new(()).into_parts().0;
        let mut guest = Head { status: Some(StatusCode::FORBIDDEN), headers: HeaderMap::new() };
        merge(&mut guest, &mut inner).unwrap();
        assert_eq!(inner.status, StatusCode::FORBIDDEN);

        inner.status = StatusCode::NOT_FOUND;
        let mut guest = Head::default();
        merge(&mut guest, &mut inner).unwrap();
        assert_eq!((inner.status, guest.status), (StatusCode::NOT_FOUND, Some(inner.status)));
    }

    #[test]
    fn many_fields_are_all_kept() {
        let many = |prefix: &str, count: usize| {
            let name = |i| HeaderName::try_from(format!("{prefix}-{i}")).unwrap();
            HeaderMap::from_iter((0..count).map(|i| (name(i), HeaderValue::from_static(""))))
        };
        let mut inner = Response::new(()).into_parts().0;
        inner.headers = many("inner", 24_000);
        let mut guest = Head { status: None, headers: many("guest", 4_000) };
        assert!(merge(&mut guest, &mut inner).is_err());
    }
}

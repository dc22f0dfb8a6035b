//! What a header field is to the ingress, by its name.

use http::HeaderName;

/// What becomes of a field that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// It goes on as it came.
    EndToEnd,
    /// It goes on, and a client cannot have it removed with `Connection`.
    Kept,
    Connection,
    /// It is about the connection, whether `Connection` names it or not.
    HopByHop,
    Te,
    TransferEncoding,
    ContentLength,
    Host,
    Expect,
    /// A proxy's word for whom a request is from, and what it was for.
    Forwarded,
}

/// Fields of this kind, beside all of those that begin with `x-forwarded-`. Each is the one that some proxy or service
/// sets, and that some framework believes.
const FORWARDED: [&str; 31] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "cluster-client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-forward-for",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-rewrite-url",
];

impl Field {
    pub(super) fn of(name: &HeaderName) -> Self {
        Self::of_name(name.as_str())
    }

    /// `name` is in lower case.
    pub(super) fn of_name(name: &str) -> Self {
        let field = Self::of_exactly(name);
        if field == Self::EndToEnd && name.as_bytes().contains(&b'_') {
            // Behind CGI and its kin, x_real_ip and x-real-ip are one variable. So it is not to be passed on where the
            // other is not; under this name it frames nothing and routes nothing.
            return match Self::of_exactly(&name.replace('_', "-")) {
                Self::EndToEnd | Self::Kept => Self::EndToEnd,
                Self::Forwarded => Self::Forwarded,
                _ => Self::HopByHop,
            };
        }
        field
    }

    fn of_exactly(name: &str) -> Self {
        // By the first letter: most fields are none of these, and are to be through soon.
        match name.as_bytes().first() {
            Some(b'a') => kept(name, &["authorization"]),
            Some(b'c') => match name {
                "connection" => Self::Connection,
                "content-length" => Self::ContentLength,
                _ if is_forwarded(name) => Self::Forwarded,
                _ => kept(
                    name,
                    &[
                        "cache-control",
                        "content-encoding",
                        "content-range",
                        "content-type",
                        "cookie",
                    ],
                ),
            },
            Some(b'e') if name == "expect" => Self::Expect,
            Some(b'f') if is_forwarded(name) => Self::Forwarded,
            Some(b'h') => match name {
                "host" => Self::Host,
                "http2-settings" => Self::HopByHop,
                _ => Self::EndToEnd,
            },
            Some(b'k') if name == "keep-alive" => Self::HopByHop,
            Some(b'o') => kept(name, &["origin"]),
            Some(b'p') => match name {
                // Nothing but CGI's HTTP_PROXY would be meant by the first of them.
                "proxy" | "proxy-connection" => Self::HopByHop,
                _ if is_forwarded(name) => Self::Forwarded,
                _ => Self::EndToEnd,
            },
            Some(b'r') => kept(name, &["range"]),
            Some(b't') => match name {
                "te" => Self::Te,
                "transfer-encoding" => Self::TransferEncoding,
                _ if is_forwarded(name) => Self::Forwarded,
                _ => Self::EndToEnd,
            },
            Some(b'u') if name == "upgrade" => Self::HopByHop,
            Some(b'v') => kept(name, &["via"]),
            Some(b'w') if is_forwarded(name) => Self::Forwarded,
            Some(b'x') if is_forwarded(name) => Self::Forwarded,
            _ => Self::EndToEnd,
        }
    }

    /// Whether a field is taken out of trailers: what says how a message is framed, routed or allowed counts in a head
    /// only (RFC 9110, section 6.5.1).
    pub(super) fn is_for_heads(name: &HeaderName) -> bool {
        Self::of(name) != Self::EndToEnd
            || matches!(
                name.as_str(),
                "max-forwards" | "proxy-authorization" | "set-cookie" | "trailer"
            )
    }
}

fn kept(name: &str, names: &[&str]) -> Field {
    if names.contains(&name) { Field::Kept } else { Field::EndToEnd }
}

fn is_forwarded(name: &str) -> bool {
    name.starts_with("x-forwarded-") || FORWARDED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::{FORWARDED, Field};

    #[test]
    fn each_is_found_by_its_first_letter() {
        for name in FORWARDED.iter().copied().chain(["x-forwarded-new"]) {
            assert_eq!(Field::of_name(name), Field::Forwarded, "{name}");
        }
        for (name, field) in [
            ("connection", Field::Connection),
            ("content-length", Field::ContentLength),
            ("expect", Field::Expect),
            ("host", Field::Host),
            ("te", Field::Te),
            ("transfer-encoding", Field::TransferEncoding),
            ("keep-alive", Field::HopByHop),
            ("proxy-connection", Field::HopByHop),
            ("upgrade", Field::HopByHop),
            ("authorization", Field::Kept),
            ("cookie", Field::Kept),
            ("via", Field::Kept),
            ("accept", Field::EndToEnd),
            ("trailer", Field::EndToEnd),
            ("x-tenant", Field::EndToEnd),
            ("", Field::EndToEnd),
        ] {
            assert_eq!(Field::of_name(name), field, "{name}");
        }
    }

    #[test]
    fn an_underscore_hides_nothing() {
        for (name, field) in [
            ("x_forwarded_for", Field::Forwarded),
            ("x_real-ip", Field::Forwarded),
            ("transfer_encoding", Field::HopByHop),
            ("content_length", Field::HopByHop),
            ("x_tenant", Field::EndToEnd),
        ] {
            assert_eq!(Field::of_name(name), field, "{name}");
        }
    }
}

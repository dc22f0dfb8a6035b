//! Where guests may send requests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Io), Error>;

/// A host, with or without a port.
///
/// ```
/// use millpond_wasmtime_backend::Destination;
///
/// let api: Destination = "api.example.com".parse().unwrap(); // any port
/// let local: Destination = "[::1]:3000".parse().unwrap();
/// assert!("http://example.com".parse::<Destination>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: Option<u16>,
}

impl FromStr for Destination {
    type Err = ParseDestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseDestinationError(text.to_owned());
        let authority: Authority = text.parse().map_err(|_| wrong())?;
        let rest = &text[authority.host().len()..];
        let plain = rest.is_empty() || (rest.starts_with(':') && authority.port_u16().is_some());
        if authority.host().is_empty() || !plain {
            return Err(wrong());
        }
        Ok(Self { host: authority.host().to_ascii_lowercase(), port: authority.port_u16() })
    }
}

/// Text that names no destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDestinationError(String);

impl fmt::Display for ParseDestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no destination: expected HOST or HOST:PORT", self.0)
    }
}

impl std::error::Error for ParseDestinationError {}

/// The destinations that are allowed; anywhere, if `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbound(Option<Arc<Vec<Destination>>>);

impl Outbound {
    pub(super) fn allow(&mut self, destination: Destination) {
        Arc::make_mut(self.0.get_or_insert_default()).push(destination);
    }

    pub(super) fn deny_others(&mut self) {
        self.0.get_or_insert_default();
    }

    fn allows(&self, uri: &Uri) -> bool {
        let Some(allowed) = &self.0 else { return true };
        let Some(authority) = uri.authority() else { return false };
        let port = authority.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            _ => Some(80),
        });
        allowed.iter().any(|destination| {
            destination.host.eq_ignore_ascii_case(authority.host())
                && (destination.port.is_none() || destination.port == port)
        })
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let allowed = self.allows(request.uri());
        Box::new(async move {
            if !allowed {
                return Err(Error::HttpRequestDenied);
            }
            let (response, io) = default_send_request(request, options).await?;
            let io: Io = Box::new(io);
            Ok((response.map(|body| body.boxed_unsync()), io))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(allowed: &[&str]) -> Outbound {
        let mut outbound = Outbound::default();
        for destination in allowed {
            outbound.allow(destination.parse().unwrap());
        }
        outbound
    }

    #[test]
    fn only_allowed_destinations_are_allowed() {
        let some = outbound(&["Example.com", "127.0.0.1:3000", "[::1]:80"]);
        let allows = |uri: &'static str| some.allows(&Uri::from_static(uri));
        assert!(allows("http://example.com/x") && allows("https://EXAMPLE.com:8443/"));
        assert!(allows("http://127.0.0.1:3000/") && allows("http://[::1]/"));
        assert!(!allows("http://127.0.0.1/") && !allows("https://[::1]/"));
        assert!(!allows("http://example.com.evil.net/") && !allows("http://x@evil.net/"));
        assert!(Outbound::default().allows(&Uri::from_static("http://anywhere/")));
        let mut none = Outbound::default();
        none.deny_others();
        assert!(!none.allows(&Uri::from_static("http://anywhere/")));
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in ["", "http://a", "a/b", "a:99999", "a:", "user@host", "a b"] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }
}

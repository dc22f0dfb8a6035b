//! What a request is, decided once, before anything is added to it and before any handler sees it.
//!
//! A request passes several handlers, and each reads of it what it needs: one looks at `Host` and another at the URI,
//! one takes out what `Connection` names after another has put something in. Where two of them disagree about what the
//! request is, a client can have the one check what the other does not serve. [`Ingress`] is in front of all of them,
//! and leaves nothing to disagree about:
//!
//! | of a request | what becomes of it |
//! | --- | --- |
//! | fields | at most 100, and 100 cookies, else 431: HTTP/2 packs thousands of them into a few bytes |
//! | authority | URI and `Host` say the same from then on; what they say before must not differ, else 400. One `Host`, without a user; HTTP/1.1 must have one |
//! | scheme | that of the connection; another is 421, unless it comes from a trusted proxy |
//! | target | absolute; `*` for OPTIONS only, else 400; CONNECT is 501 |
//! | `Connection` and what it names, `Keep-Alive`, `Proxy-Connection`, `Upgrade`, `HTTP2-Settings`, `Transfer-Encoding`, `Proxy` | removed. A coding other than `chunked` is 501 |
//! | `Connection` with a name that is for all recipients | 400, see below |
//! | `TE` | `trailers`, or removed |
//! | `Content-Length` | one; several that differ, one that is no number or has leading zeros, or one beside `Transfer-Encoding` is 400 |
//! | `Expect` | removed, as the server answers `100-continue` itself; another one is 417 |
//! | `Forwarded`, `X-Forwarded-*`, `X-Real-IP` and their kin | removed, unless the peer is a [trusted](Ingress::trust) proxy |
//! | trailers with such names, or with any that count in a head only | removed |
//!
//! And of a response, what [`strip_response_header`](Ingress::strip_response_header) names is removed, from its trailers
//! too.
//!
//! A name with `_` counts as the same name with `-`: behind CGI and its kin they are one variable.
//!
//! # What `Connection` may name
//!
//! RFC 9110, section 7.6.1, has a recipient remove each field that `Connection` names, whatever it is. As the ingress is
//! first, a client takes away no more than what it sent itself. But behind a proxy that passes `Connection` on as it
//! came, the client would take away what that proxy has put in: the address it is from, the user that it is. So what a
//! request is for, whose it is and how its content is read cannot be named: a sender must not do that either (there,
//! "intended for all recipients of the content"), and it is refused and not ignored, as what else in such a request is
//! meant otherwise than it reads cannot be known. The fields are `Host`, `Content-Length`, `Content-Type`,
//! `Content-Encoding`, `Content-Range`, `Range`, `Authorization`, `Cookie`, `Cache-Control`, `Origin`, `Via`, `Expect`
//! and all that say whom a request is from. Any other field that is named is removed.

mod authority;
mod body;
mod field;
mod head;
mod hop_by_hop;
mod service;
mod trust;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::uri::Scheme;
use http::{Extensions, HeaderName, Request};
use millpond_pool_core::{Error, ErrorKind};
use tower::Layer;

pub use authority::{authority, set_authority};
pub use body::IngressBody;
pub use service::{IngressFuture, IngressService};
pub use trust::{Network, ParseNetworkError};

/// Whom a request is from, in the extensions of the request: a server that knows puts it there.
///
/// ```
/// use millpond_tower_adapter::SourceAddr;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(SourceAddr(([192, 0, 2, 1], 4711).into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddr(pub SocketAddr);

/// Decides what a request is, as [the module](self) says: a [`tower::Layer`], to be the outermost, or a
/// [function](Self::admit) for those who have no layers.
///
/// ```
/// # futures::executor::block_on(async {
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use millpond_tower_adapter::ingress::{Ingress, IngressBody};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let handler = service_fn(async |request: Request<IngressBody<Full<Bytes>>>| {
///     assert_eq!(request.uri(), "http://a.example/");
///     assert!(!request.headers().contains_key("x-forwarded-for"));
///     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("hello")))
/// });
/// let service = Ingress::new().layer(handler);
///
/// let request = Request::get("/").header("host", "a.example").header("x-forwarded-for", "::1");
/// let response = service.clone().oneshot(request.body(Full::default())?).await?;
/// assert_eq!(response.status(), 200);
/// let request = Request::get("http://b.example/").header("host", "a.example");
/// let response = service.oneshot(request.body(Full::default())?).await?;
/// assert_eq!(response.status(), 400);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Ingress {
    rules: Arc<Rules>,
}

#[derive(Clone)]
struct Rules {
    trusted: Vec<Network>,
    scheme: Scheme,
    peer: Arc<FindPeer>,
    /// `None`: nothing.
    strip: Option<Arc<[HeaderName]>>,
}

/// The most fields of a head: hyper's limit for HTTP/1.1.
const MAX_FIELDS: usize = 100;

/// Finds the peer's address in what a server says of a request.
type FindPeer = dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync;

impl Ingress {
    /// Makes one that trusts no proxy, for connections without TLS.
    pub fn new() -> Self {
        let peer = |extensions: &Extensions| extensions.get().map(|SourceAddr(addr)| addr.ip());
        Self {
            rules: Arc::new(Rules {
                trusted: Vec::new(),
                scheme: Scheme::HTTP,
                peer: Arc::new(peer),
                strip: None,
            }),
        }
    }

    /// Lets pass what the proxies of these networks say of whom a request is from, and with which scheme it came to
    /// them. They are to overwrite what their own clients say of it.
    #[must_use]
    pub fn trust(mut self, proxies: impl IntoIterator<Item = Network>) -> Self {
        Arc::make_mut(&mut self.rules).trusted.extend(proxies);
        self
    }

    /// Takes `https` for the scheme of requests: they come over TLS.
    #[must_use]
    pub fn secure(mut self) -> Self {
        Arc::make_mut(&mut self.rules).scheme = Scheme::HTTPS;
        self
    }

    /// Removes these headers from each response, whatever its source, and these trailers.
    #[must_use]
    pub fn strip_response_header(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let rules = Arc::make_mut(&mut self.rules);
        let before = rules.strip.take();
        let all: Vec<_> = before.iter().flat_map(|names| &**names).cloned().chain(names).collect();
        rules.strip = (!all.is_empty()).then(|| all.into());
        self
    }

    /// Sets where a server says whom a request is from. Default: the extension [`SourceAddr`]. What has no peer is from
    /// no trusted proxy.
    #[must_use]
    pub fn source_addr(
        mut self,
        find: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        let find = move |extensions: &Extensions| find(extensions).map(|addr| addr.ip());
        Arc::make_mut(&mut self.rules).peer = Arc::new(find);
        self
    }

    /// Makes the head of a request what it is for all who come after. The layer does this, and sees to trailers and
    /// responses too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadRequest`], with the status that is told, or [`ErrorKind::HeadTooLarge`]; the request is to go
    /// nowhere then, and the connection is best closed.
    pub fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        self.rules.admit(request)
    }
}

impl Default for Ingress {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for Ingress {
    type Service = IngressService<S>;

    fn layer(&self, inner: S) -> IngressService<S> {
        IngressService::new(Arc::clone(&self.rules), inner)
    }
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { trusted, scheme, strip, .. } = &*self.rules;
        f.debug_struct("Ingress")
            .field("trusted", trusted)
            .field("scheme", scheme)
            .field("strip", strip)
            .finish_non_exhaustive()
    }
}

fn bad(what: &str, why: impl ToString) -> Error {
    let source = format!("{what}: {}", why.to_string());
    Error::new(ErrorKind::BadRequest).with_source(source)
}

//! One request and its response, as their guest sees them.

use std::fmt::Display;
use std::net::SocketAddr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, request};
use millpond_tower_adapter::response::PROXY_STATUS;
use wasmtime::{Result, format_err};

use crate::message::body_buffer::{BodyBuffer, BodyBufferError, Incoming, Read};
use crate::message::budget::BufferBudget;
use crate::message::features::Features;
use crate::message::forward::RequestBody;
use crate::message::framing::{declare_trailers, frames, set_length, strip_framing};
use crate::message::trailers::Edit;

/// Bytes of header and trailer names and values that a guest may set for one request.
pub(crate) const MAX_SET: usize = 1 << 20;
/// What each change counts beside its name and value.
const EDIT: usize = 32;
/// Fields that a guest may bring a map of headers or trailers to.
const MAX_FIELDS: usize = 4000;

/// A request on its way to the next handler, and the response on its way back.
pub(crate) struct Exchange {
    half: Half,
    features: Features,
    pub(crate) request: request::Parts,
    pub(crate) source: Option<SocketAddr>,
    request_body: BodyBuffer,
    pub(crate) response: Head,
    pub(crate) response_body: BodyBuffer,
    /// Where bodies that are held have their room from.
    pub(crate) buffers: BufferBudget,
    /// Bytes of headers that the guest has set, or had removed.
    set: usize,
}

/// Which of the guest's two calls is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Request,
    Response,
}

/// The head of a response: what the guest has set of it so far, then with what the next handler gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: HeaderMap,
}

/// Whose headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    RequestTrailers,
    ResponseTrailers,
}

impl Exchange {
    /// A request that no guest has seen. Bodies are held up to this many bytes each.
    pub(crate) fn new(
        request: request::Parts,
        body: Option<Incoming>,
        source: Option<SocketAddr>,
        max_body: usize,
        buffers: BufferBudget,
    ) -> Self {
        Self {
            half: Half::Request,
            features: Features::default(),
            request,
            source,
            request_body: BodyBuffer::coming(body, max_body),
            response: Head::default(),
            response_body: BodyBuffer::empty(max_body),
            buffers,
            set: 0,
        }
    }

    /// Enables features for this request. Once the next handler has been called it is too late.
    pub(crate) fn enable(&mut self, features: Features) -> Features {
        if self.half == Half::Request {
            self.features |= features;
        }
        self.features
    }

    pub(crate) fn buffers_response(&self) -> bool {
        self.features.contains(Features::BUFFER_RESPONSE)
    }

    /// The request, for the next handler. Its head stays here as well if the guest may look at it again.
    pub(crate) fn next_request(&mut self, keep: bool) -> Request<RequestBody> {
        if self.request_body.is_changed() {
            strip_framing(&mut self.request.headers);
            if let Some(length) = self.request_body.written_len() {
                set_length(&mut self.request.headers, length);
            }
        }
        declare_trailers(&mut self.request.headers, self.request_body.trailers.known());
        let (chunks, rest) = self.request_body.pass_on();
        let trailers = std::mem::take(&mut self.request_body.trailers);
        let body = RequestBody::new(chunks, rest, trailers);
        let parts = if keep {
            self.request.clone()
        } else {
            std::mem::replace(&mut self.request, Request::new(()).into_parts().0)
        };
        Request::from_parts(parts, body)
    }

    /// The next handler has answered, or failed: `handle_response` comes next.
    pub(crate) fn begin_response(&mut self) {
        self.half = Half::Response;
    }

    // What the guest asks for.

    pub(crate) fn require_request_half(&self, what: impl Display) -> Result<()> {
        match self.half {
            Half::Request => Ok(()),
            Half::Response => Err(format_err!("cannot {what} after the next handler")),
        }
    }

    pub(crate) fn require_response(&self, what: impl Display) -> Result<()> {
        if self.half == Half::Request || self.buffers_response() {
            return Ok(());
        }
        Err(format_err!("cannot {what} after the next handler without the feature buffer_response"))
    }

    /// In lower case, sorted, each once.
    pub(crate) fn header_names(&self, kind: Kind) -> Vec<HeaderName> {
        let headers = self.headers(kind);
        let mut names: Vec<_> = headers.keys().cloned().collect();
        if kind == Kind::Request && self.authority().is_some() {
            names.push(HOST);
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names
    }

    pub(crate) fn header_values(&self, kind: Kind, name: &HeaderName) -> Vec<&[u8]> {
        if kind == Kind::Request
            && *name == HOST
            && let Some(authority) = self.authority()
        {
            return vec![authority.as_bytes()];
        }
        self.headers(kind).get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }

    /// What stands in for `host` where there is none: HTTP/2 has it in the URI.
    fn authority(&self) -> Option<&str> {
        if self.request.headers.contains_key(HOST) {
            return None;
        }
        self.request.uri.authority().map(Authority::as_str)
    }

    pub(crate) fn edit(&mut self, kind: Kind, edit: Edit) -> Result<()> {
        let verb = match &edit {
            Edit::Set(..) => "set",
            Edit::Add(..) => "add",
            Edit::Remove(_) => "remove",
        };
        match kind {
            Kind::Request => self.require_request_half(format_args!("{verb} a request header"))?,
            Kind::RequestTrailers => {
                self.require_request_half(format_args!("{verb} a request trailer"))?;
            }
            Kind::Response => self.require_response(format_args!("{verb} a response header"))?,
            Kind::ResponseTrailers => {
                self.require_response(format_args!("{verb} a response trailer"))?
            }
        }
        // Also what removes one: of trailers that have not come yet, it is kept.
        self.set += EDIT + edit.len();
        if self.set > MAX_SET {
            return Err(format_err!("the guest has set more than {MAX_SET} bytes of headers"));
        }
        if kind == Kind::Request && frames(edit.name()) {
            // The body is as the client framed it, or as the host does if the guest has changed it.
            return Ok(());
        }
        if [Kind::Response, Kind::ResponseTrailers].contains(&kind) && *edit.name() == PROXY_STATUS
        {
            // That is the host's word, and that of proxies behind it.
            return Ok(());
        }
        if kind == Kind::Request && *edit.name() == HOST {
            return self.edit_host(edit);
        }
        if !matches!(edit, Edit::Remove(_)) && self.headers(kind).len() >= MAX_FIELDS {
            return Err(format_err!(
                "there are {MAX_FIELDS} header fields, and the guest adds more"
            ));
        }
        let done = match kind {
            Kind::Request => edit.apply(&mut self.request.headers),
            Kind::Response => edit.apply(&mut self.response.headers),
            Kind::RequestTrailers => self.request_body.trailers.edit(edit),
            Kind::ResponseTrailers => self.response_body.trailers.edit(edit),
        };
        done.map_err(|_| format_err!("there are too many headers"))
    }

    /// Handlers that read the URI are to see the same host as those that read the header.
    fn edit_host(&mut self, edit: Edit) -> Result<()> {
        if let Edit::Set(_, value) = &edit
            && self.request.uri.authority().is_some()
        {
            let authority = Authority::try_from(value.as_bytes());
            let authority = authority.map_err(|_| format_err!("{value:?} is no host"))?;
            let mut parts = std::mem::take(&mut self.request.uri).into_parts();
            parts.authority = Some(authority);
            self.request.uri = Uri::from_parts(parts)?;
        }
        let done = edit.apply(&mut self.request.headers);
        done.map_err(|_| format_err!("there are too many headers"))
    }

    fn headers(&self, kind: Kind) -> &HeaderMap {
        match kind {
            Kind::Request => &self.request.headers,
            Kind::Response => &self.response.headers,
            Kind::RequestTrailers => self.request_body.trailers.known(),
            Kind::ResponseTrailers => self.response_body.trailers.known(),
        }
    }

    /// Before the next handler, what comes from the client; after it, what was kept of that.
    pub(crate) async fn read_request_body(
        &mut self,
        buf: &mut [u8],
    ) -> Result<Result<Read, BodyBufferError>> {
        let keep = self.features.contains(Features::BUFFER_REQUEST);
        if self.half == Half::Response && !keep {
            return Err(format_err!(
                "cannot read the request body after the next handler without the feature buffer_request"
            ));
        }
        Ok(self.request_body.read(buf, keep, &self.buffers).await)
    }

    pub(crate) fn write_request_body(
        &mut self,
        bytes: &[u8],
    ) -> Result<Result<(), BodyBufferError>> {
        self.require_request_half("write the request body")?;
        Ok(self.request_body.write(bytes, &self.buffers))
    }

    pub(crate) fn read_response_body(&mut self, buf: &mut [u8]) -> Result<Read> {
        if !self.buffers_response() {
            return Err(format_err!(
                "cannot read the response body without the feature buffer_response"
            ));
        }
        Ok(self.response_body.read_whole(buf))
    }

    pub(crate) fn write_response_body(
        &mut self,
        bytes: &[u8],
    ) -> Result<Result<(), BodyBufferError>> {
        self.require_response("write the response body")?;
        Ok(self.response_body.write(bytes, &self.buffers))
    }
}

#[cfg(test)]
mod tests {
    use http::header::AGE;

    use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRAILER, TRANSFER_ENCODING};

    use super::{BufferBudget, Exchange, Kind, MAX_FIELDS, MAX_SET, Request};
    use crate::message::trailers::Edit;

    #[test]
    fn endless_header_changes_are_stopped() {
        for kind in [Kind::Request, Kind::RequestTrailers, Kind::ResponseTrailers] {
            let mut exchange = exchange(Request::new(()));
            let changes = (0..MAX_SET).take_while(|_| {
                // Even if nothing is there to be removed.
                exchange.edit(kind, Edit::Remove(AGE)).is_ok()
            });
            assert!(changes.count() < MAX_SET / 32, "{kind:?}");
        }
    }

    fn exchange(request: Request<()>) -> Exchange {
        Exchange::new(request.into_parts().0, None, None, 0, BufferBudget::default())
    }

    #[test]
    fn endless_new_fields_are_stopped_in_time() {
        for kind in [Kind::Request, Kind::Response, Kind::RequestTrailers, Kind::ResponseTrailers] {
            let mut exchange = exchange(Request::new(()));
            let added = (0..).take_while(|i| {
                let name = format!("x-{i}").parse().unwrap();
                exchange.edit(kind, Edit::Set(name, HeaderValue::from_static(""))).is_ok()
            });
            assert_eq!(added.count(), MAX_FIELDS, "{kind:?}");
            assert!(exchange.edit(kind, Edit::Remove("x-0".parse().unwrap())).is_ok());
        }
    }

    #[test]
    fn guest_framing_headers_are_ignored() {
        let request = Request::builder().header(CONTENT_LENGTH, 5).body(()).unwrap();
        let mut exchange = exchange(request);
        let value = HeaderValue::from_static;
        for edit in [
            Edit::Set(CONTENT_LENGTH, value("3")),
            Edit::Add(CONTENT_LENGTH, value("3")),
            Edit::Set(TRANSFER_ENCODING, value("chunked")),
            Edit::Remove(CONTENT_LENGTH),
        ] {
            exchange.edit(Kind::Request, edit).unwrap();
        }
        let next = exchange.next_request(false);
        assert_eq!(next.headers().len(), 1);
        assert_eq!(next.headers()[CONTENT_LENGTH], "5");
    }

    #[test]
    fn a_host_that_is_set_is_the_uris_too() {
        let request = Request::get("http://a.example/x").header(HOST, "a.example");
        let mut exchange = exchange(request.body(()).unwrap());
        let set = |value: &'static str| Edit::Set(HOST, HeaderValue::from_static(value));
        exchange.edit(Kind::Request, set("b.example:81")).unwrap();
        assert!(exchange.edit(Kind::Request, set("no host")).is_err());
        let next = exchange.next_request(false);
        assert_eq!(next.uri(), "http://b.example:81/x");
        assert_eq!(next.headers()[HOST], "b.example:81");
    }

    #[test]
    fn a_guest_has_no_say_in_the_proxy_status() {
        let mut exchange = exchange(Request::new(()));
        let name = millpond_tower_adapter::response::PROXY_STATUS;
        exchange.response.headers.insert(&name, HeaderValue::from_static("millpond"));
        for edit in [
            Edit::Set(name.clone(), HeaderValue::from_static("forged")),
            Edit::Add(name.clone(), HeaderValue::from_static("forged")),
            Edit::Remove(name.clone()),
        ] {
            exchange.edit(Kind::Response, edit.clone()).unwrap();
            exchange.edit(Kind::ResponseTrailers, edit).unwrap();
        }
        let kept: Vec<_> = exchange.response.headers.get_all(&name).iter().collect();
        assert_eq!(kept, ["millpond"]);
        assert!(exchange.response_body.trailers.known().is_empty());
    }

    #[test]
    fn added_trailers_drop_the_content_length() {
        let request = Request::builder().header(CONTENT_LENGTH, 5).body(()).unwrap();
        let mut exchange = exchange(request);
        let edit = Edit::Set("x-sum".parse().unwrap(), HeaderValue::from_static("1"));
        exchange.edit(Kind::RequestTrailers, edit).unwrap();
        let next = exchange.next_request(false);
        assert_eq!(next.headers().len(), 1);
        assert_eq!(next.headers()[TRAILER], "x-sum");
    }
}

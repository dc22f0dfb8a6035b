//! The head of a request, from what came to what all who come after see.

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Version};
use millpond_pool_core::{Error, ErrorKind};

use super::field::Field;
use super::hop_by_hop::{HopByHop, remove_all};
use super::{MAX_FIELDS, Rules, authority, bad, set_authority};

/// What one look at all fields found.
#[derive(Default)]
struct Found<'a> {
    /// There is something to do beside the authority.
    something: bool,
    hop_by_hop: HopByHop,
    forwarded: bool,
    expect: Option<&'a HeaderValue>,
    content_length: Option<&'a HeaderValue>,
    content_lengths: usize,
}

impl Rules {
    pub(super) fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        check_fields(request.headers())?;
        if request.method() == Method::CONNECT {
            // A tunnel would go past all who come after.
            return Err(bad("CONNECT", "there are no tunnels here").with_status(501));
        }
        check_path(request)?;
        self.check_scheme(request)?;
        self.settle_authority(request)?;
        let found = Found::of(request.headers())?;
        if !found.something {
            return Ok(());
        }
        if let Some(expect) = found.expect
            && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
        {
            return Err(bad("Expect", "expected 100-continue").with_status(417));
        }
        let removal = found.hop_by_hop.check(request.headers())?;
        let (expect, lengths) = (found.expect.is_some(), found.content_lengths);
        let length = found.content_length.cloned();
        let forwarded = found.forwarded && !self.trusts(request);

        let headers = request.headers_mut();
        removal.apply(headers);
        if expect {
            headers.remove(EXPECT);
        }
        if let Some(length) = length.filter(|_| lengths > 1) {
            headers.insert(CONTENT_LENGTH, length);
        }
        if forwarded {
            remove_all(headers, Field::Forwarded);
        }
        Ok(())
    }

    /// RFC 9110, section 7.4: a request for another scheme than that of its connection is misdirected.
    fn check_scheme<B>(&self, request: &Request<B>) -> Result<(), Error> {
        let Some(scheme) = request.uri().scheme() else { return Ok(()) };
        if *scheme == self.scheme {
            return Ok(());
        }
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(bad("the request target", "expected the scheme http or https"));
        }
        if self.trusts(request) {
            return Ok(());
        }
        let expected = format!("expected the scheme {}", self.scheme);
        Err(bad("the request target", expected).with_status(421))
    }

    fn settle_authority<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        let is_http11 = request.version() == Version::HTTP_11;
        if is_http11 && !request.headers().contains_key(HOST) {
            // Whatever the target says (RFC 9112, section 3.2).
            return Err(bad("the Host header", "there is none"));
        }
        let Some(authority) = authority(request)? else { return Ok(()) };
        let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
        if host != Some(authority.as_str().as_bytes()) {
            let host = HeaderValue::from_str(authority.as_str());
            let host = host.map_err(|error| bad("the request target", error))?;
            request.headers_mut().insert(HOST, host);
        }
        set_authority(request.uri_mut(), authority, self.scheme.clone())
    }
}

/// HTTP/2 clients may send each cookie in a field of its own (RFC 9113, section 8.2.3), and browsers do: as many as there
/// may be fields are not counted.
fn check_fields(headers: &HeaderMap) -> Result<(), Error> {
    let fields = headers.len();
    if fields <= MAX_FIELDS {
        return Ok(());
    }
    let cookies = headers.get_all(COOKIE).iter().count().min(MAX_FIELDS);
    if fields - cookies <= MAX_FIELDS {
        return Ok(());
    }
    let why = format!("{fields} fields, expected at most {MAX_FIELDS}");
    Err(Error::new(ErrorKind::HeadTooLarge).with_source(why))
}

/// The star is for OPTIONS (RFC 9112, section 3.2.4), and any other path begins with a slash.
fn check_path<B>(request: &Request<B>) -> Result<(), Error> {
    let uri = request.uri();
    if uri.authority().is_some() && uri.scheme().is_none() {
        return Err(bad("the request target", "an authority alone is for CONNECT only"));
    }
    match uri.path() {
        "*" if request.method() != Method::OPTIONS => {
            Err(bad("the request target", "a star is for OPTIONS only"))
        }
        "*" => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err(bad("the request target", "expected a path that begins with a slash")),
    }
}

impl<'a> Found<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Error> {
        let mut found = Self::default();
        for (name, value) in headers {
            match Field::of(name) {
                Field::EndToEnd | Field::Kept | Field::Host => continue,
                Field::ContentLength => {
                    found.length(value)?;
                    continue;
                }
                Field::Connection => found.hop_by_hop.connection = true,
                Field::HopByHop => found.hop_by_hop.others = true,
                Field::Forwarded => found.forwarded = true,
                Field::Te => found.hop_by_hop.te = true,
                Field::TransferEncoding => found.hop_by_hop.transfer_encoding = true,
                Field::Expect if found.expect.is_some_and(|expect| expect != value) => {
                    return Err(bad("Expect", "there are several").with_status(417));
                }
                Field::Expect => found.expect = Some(value),
            }
            found.something = true;
        }
        if found.hop_by_hop.transfer_encoding && found.content_lengths > 0 {
            return Err(bad("Content-Length", "there is a Transfer-Encoding beside it"));
        }
        Ok(found)
    }

    /// Takes a number of bytes, which all of them must be.
    fn length(&mut self, value: &'a HeaderValue) -> Result<(), Error> {
        let digits = value.as_bytes();
        // One that begins with a zero is read as an octal number here and there.
        let is_number = match digits {
            [b'0'] => true,
            [b'1'..=b'9', others @ ..] => others.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !is_number {
            return Err(bad("Content-Length", "expected a number of bytes, without leading zeros"));
        }
        if self.content_length.is_some_and(|other| other != value) {
            return Err(bad("Content-Length", "there are several, and they differ"));
        }
        self.content_length = Some(value);
        self.content_lengths += 1;
        self.something |= self.content_lengths > 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

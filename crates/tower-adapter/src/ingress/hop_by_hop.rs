//! Header fields that are about one connection and go no further (RFC 9110, section 7.6.1).

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING};
use millpond_pool_core::Error;

use super::bad;
use super::field::Field;

/// Which of them one look at all fields found.
#[derive(Clone, Copy, Default)]
pub(super) struct HopByHop {
    pub(super) connection: bool,
    pub(super) te: bool,
    pub(super) transfer_encoding: bool,
    /// Those that go without a look at their values.
    pub(super) others: bool,
}

/// What is to be removed of a head.
pub(super) struct Removal {
    found: HopByHop,
    /// By `Connection`.
    named: Vec<HeaderName>,
    trailers: bool,
}

impl HopByHop {
    /// Looks at their values, before anything is changed.
    pub(super) fn check(self, headers: &HeaderMap) -> Result<Removal, Error> {
        if self.transfer_encoding {
            check_coding(headers)?;
        }
        let named = if self.connection { named(headers)? } else { Vec::new() };
        let trailers = self.te && takes_trailers(headers);
        Ok(Removal { found: self, named, trailers })
    }
}

impl Removal {
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        let Self { found, named, trailers } = self;
        if found.connection {
            headers.remove(CONNECTION);
            for name in named {
                headers.remove(name);
            }
        }
        if found.transfer_encoding {
            headers.remove(TRANSFER_ENCODING);
        }
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        } else if found.te {
            headers.remove(TE);
        }
        if found.others {
            remove_all(headers, Field::HopByHop);
        }
    }
}

/// Removes all fields of a kind.
pub(super) fn remove_all(headers: &mut HeaderMap, kind: Field) {
    let names: Vec<_> = headers.keys().filter(|name| Field::of(name) == kind).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// What `Connection` names beside what goes anyhow.
fn named(headers: &HeaderMap) -> Result<Vec<HeaderName>, Error> {
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let text = value.to_str().map_err(|error| bad("Connection", error))?;
        for option in text.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            if ["close", "keep-alive", "te", "upgrade"]
                .iter()
                .any(|known| option.eq_ignore_ascii_case(known))
            {
                continue;
            }
            let name: HeaderName =
                option.parse().map_err(|_| bad("Connection", "expected names of fields"))?;
            match Field::of(&name) {
                Field::EndToEnd => named.push(name),
                Field::Connection | Field::HopByHop | Field::Te | Field::TransferEncoding => {}
                Field::Kept
                | Field::ContentLength
                | Field::Host
                | Field::Expect
                | Field::Forwarded => {
                    let why = format!("it names {name}, which is not for the connection only");
                    return Err(bad("Connection", why));
                }
            }
        }
    }
    Ok(named)
}

/// The server has taken off what is `chunked`, and nothing here takes off anything else.
fn check_coding(headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("Transfer-Encoding", "expected chunked and nothing else").with_status(501)),
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

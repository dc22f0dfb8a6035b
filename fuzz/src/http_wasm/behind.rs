//! The service behind the guest.

use std::convert::Infallible;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use millpond::http_wasm::RequestBody;
use tower::util::BoxCloneService;

use super::pieces;
use crate::DynBody;

/// What it says if it is asked for nothing else.
pub(super) const PLAIN: &[u8] = b"from behind";

#[derive(Clone, Copy)]
pub(super) struct Behind {
    kind: u8,
    /// 0: HEAD.
    pub(super) method: u8,
    /// None: it breaks.
    pub(super) body: Option<&'static [u8]>,
}

impl From<u8> for Behind {
    fn from(byte: u8) -> Self {
        let kind = byte % 8;
        let body = match kind {
            0 | 7 => Some(PLAIN),
            1 | 2 => Some(&b"onetwo"[..]),
            3 | 4 => None,
            5 => Some(&[b'l'; 200_000][..]),
            _ => Some(&b""[..]),
        };
        Self { kind, method: byte / 32, body }
    }
}

impl Behind {
    /// It must see a request's body break, unless that is `whole`.
    pub(super) fn service(
        self,
        whole: bool,
    ) -> BoxCloneService<Request<RequestBody>, Response<DynBody>, Infallible> {
        let service = move |request: Request<RequestBody>| async move {
            // It looks at the request, or does not.
            if self.kind != 7 {
                let seen = request.into_body().collect().await;
                assert!(whole || seen.is_err(), "the body of a request that broke off looks whole");
            }
            Ok(self.answer())
        };
        BoxCloneService::new(tower::service_fn(service))
    }

    fn answer(self) -> Response<DynBody> {
        let full = |bytes: &'static [u8]| {
            Full::new(Bytes::from_static(bytes)).map_err(|never| match never {}).boxed_unsync()
        };
        let body = match self.kind {
            1 => pieces(&[b"one", b"two"], false, false),
            2 => pieces(&[b"one", b"two"], true, false),
            3 => pieces(&[b"one", b"two"], false, true),
            4 => pieces(&[b"one", b"two"], true, false),
            _ => full(self.body.unwrap_or_default()),
        };
        let mut response = Response::builder().header("x-behind", "1");
        if self.kind == 4 {
            response = response.header("content-length", "7");
        } else if let Some(length) = body.size_hint().exact() {
            response = response.header("content-length", length);
        }
        response.body(body).expect("a good response")
    }
}

//! The least that a wasi:http 0.2 guest can do: a head, six bytes, the end.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        stream.blocking_write_and_flush(b"hello\n").expect("the host reads it");
        // A stream is a child of its body and has to be dropped first.
        drop(stream);
        OutgoingBody::finish(body, None).expect("there is no announced length");
    }
}

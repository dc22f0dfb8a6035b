//! What the http-wasm guard does, as far as a component can: it answers itself, where the guard passes on.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Guard;

wasip2::http::proxy::export!(Guard);

impl Guest for Guard {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        if request.headers().get("x-token").is_empty() {
            let response = OutgoingResponse::new(headers);
            response.set_status_code(401).expect("it is a status");
            ResponseOutparam::set(out, Ok(response));
            return;
        }
        headers.set("x-guarded", &[b"1".to_vec()]).expect("it is a header");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        stream.blocking_write_and_flush(b"hello\n").expect("the host reads it");
        // A stream is a child of its body and has to be dropped first.
        drop(stream);
        OutgoingBody::finish(body, None).expect("there is no announced length");
    }
}

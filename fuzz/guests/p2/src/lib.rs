//! A wasi:http 0.2 guest that makes host calls in whatever order it is told: the header `x-script` has them, as bytes in
//! hexadecimal. See [`machine`] for what they mean.
//!
//! A body that it finishes always has the trailer `x-done`, so that one without,
//! if it looks whole, has been cut and does not say so.

mod machine;
mod words;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use machine::Machine;

struct FuzzGuest;

wasip2::http::proxy::export!(FuzzGuest);

impl Guest for FuzzGuest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let script = request.headers().get("x-script").concat();
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
        let script = script
            .chunks(2)
            .map(|two| digit(two[0]) << 4 | two.get(1).map_or(0, |low| digit(*low)));
        Machine::new(script.collect(), request, out).run();
    }
}

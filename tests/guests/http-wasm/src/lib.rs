//! An http-wasm guest which does what the headers of a request say: `x-request` before the next handler,
//! `x-response` after it. See [`script`] for the language.
//!
//! What the first half puts out is in the response header `x-out`. What the second half puts out is kept,
//! for the command `last` in the next request of this instance; or put into `x-back` by the command `tell`.

mod abi;
mod script;

use std::sync::Mutex;

use script::Machine;

/// The state of this instance.
struct Guest {
    requests: u64,
    kept: String,
    response: String,
    last: Vec<String>,
}

static GUEST: Mutex<Guest> = Mutex::new(Guest {
    requests: 0,
    kept: String::new(),
    response: String::new(),
    last: Vec::new(),
});

#[unsafe(no_mangle)]
extern "C" fn handle_request() -> u64 {
    let mut guest = GUEST.lock().expect("a guest that panicked is gone");
    guest.requests += 1;
    guest.response = abi::request_header("x-response").unwrap_or_default();
    let script = abi::request_header("x-request").unwrap_or_default();
    let mut machine = Machine::new(&mut guest, 0, false);
    machine.run(&script);
    machine.add_output("x-out");
    machine.ctx_next()
}

#[unsafe(no_mangle)]
extern "C" fn handle_response(ctx: u32, is_error: u32) {
    let mut guest = GUEST.lock().expect("a guest that panicked is gone");
    let script = std::mem::take(&mut guest.response);
    let mut machine = Machine::new(&mut guest, ctx, is_error == 1);
    machine.run(&script);
    let output = machine.into_output();
    guest.last = output;
}

//! An http-wasm guest: it lets pass who has the token, says who asks to the handler behind it, and logs what
//! became of each request.
//!
//! Its configuration is the token. Built for `wasm32-wasip1`, it is a core module that any http-wasm host runs:
//!
//! ```sh
//! cargo build --release --target wasm32-wasip1
//! ```

mod http_handler;

use std::cell::RefCell;

use http_handler::{Kind, Level};

thread_local! {
    /// What `handle_request` saw, for `handle_response`: both run in the same instance, and no other request
    /// does in between.
    static REQUEST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The token comes before any request, so that a guest without one does not even start.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    assert!(!http_handler::config().is_empty(), "the configuration is to be a token");
}

/// The upper half of the result comes back in `handle_response`; the lower half says whether to go on.
#[unsafe(no_mangle)]
extern "C" fn handle_request() -> u64 {
    let request = format!("{} {}", http_handler::method(), http_handler::uri());
    if !is_allowed() {
        http_handler::log(Level::Warn, &format!("{request} without the token"));
        http_handler::set_status(401);
        http_handler::set_header(Kind::Response, "www-authenticate", "Bearer");
        http_handler::write_response(b"not without the token\n");
        return 0;
    }
    // The handler behind needs no secret, and a client must not say who it is.
    http_handler::remove_header(Kind::Request, "authorization");
    http_handler::set_header(Kind::Request, "x-user", "friend");
    REQUEST.replace(request);
    1
}

/// Called when the response has ended, with the first argument that `handle_request` gave.
#[unsafe(no_mangle)]
extern "C" fn handle_response(_ctx: u32, is_error: u32) {
    let request = REQUEST.take();
    let outcome = match is_error {
        0 => http_handler::status().to_string(),
        _ => "no response".to_owned(),
    };
    http_handler::log(Level::Info, &format!("{request} -> {outcome}"));
}

fn is_allowed() -> bool {
    let token = http_handler::config();
    let expected = [b"Bearer ", token.as_slice()].concat();
    match http_handler::header_values(Kind::Request, "authorization").as_slice() {
        [value] => is_same(value, &expected),
        _ => false,
    }
}

/// Takes as long for a token that is nearly right as for one that is wrong.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

//! The functions of the host that this guest needs, with Rust's types.

mod abi {
    #[link(wasm_import_module = "http_handler")]
    unsafe extern "C" {
        pub fn get_config(buf: *mut u8, limit: usize) -> usize;
        pub fn log(level: i32, message: *const u8, len: usize);
        pub fn get_method(buf: *mut u8, limit: usize) -> usize;
        pub fn get_uri(buf: *mut u8, limit: usize) -> usize;
        pub fn get_header_values(
            kind: u32,
            name: *const u8,
            name_len: usize,
            buf: *mut u8,
            limit: usize,
        ) -> u64;
        pub fn set_header_value(
            kind: u32,
            name: *const u8,
            name_len: usize,
            value: *const u8,
            value_len: usize,
        );
        pub fn remove_header(kind: u32, name: *const u8, name_len: usize);
        pub fn write_body(kind: u32, body: *const u8, len: usize);
        pub fn get_status_code() -> u32;
        pub fn set_status_code(status: u32);
    }
}

/// Whose headers.
#[derive(Clone, Copy)]
pub enum Kind {
    Request = 0,
    Response = 1,
}

/// Of log messages.
#[derive(Clone, Copy)]
pub enum Level {
    Info = 0,
    Warn = 1,
}

pub fn config() -> Vec<u8> {
    // SAFETY: `value` gives a buffer and its length.
    value(|buf, limit| unsafe { abi::get_config(buf, limit) })
}

pub fn log(level: Level, message: &str) {
    // SAFETY: the message is that long.
    unsafe { abi::log(level as i32, message.as_ptr(), message.len()) }
}

pub fn method() -> String {
    // SAFETY: `value` gives a buffer and its length.
    text(value(|buf, limit| unsafe { abi::get_method(buf, limit) }))
}

pub fn uri() -> String {
    // SAFETY: `value` gives a buffer and its length.
    text(value(|buf, limit| unsafe { abi::get_uri(buf, limit) }))
}

pub fn header_values(kind: Kind, name: &str) -> Vec<Vec<u8>> {
    let bytes = value(|buf, limit| {
        // SAFETY: the name is that long, and `value` gives a buffer and its length.
        let count_len =
            unsafe { abi::get_header_values(kind as u32, name.as_ptr(), name.len(), buf, limit) };
        // The upper half is how many there are.
        count_len as u32 as usize
    });
    let mut values: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    // Each value ends with a NUL, the last one too.
    values.pop();
    values
}

pub fn set_header(kind: Kind, name: &str, value: &str) {
    // SAFETY: name and value are that long.
    unsafe {
        abi::set_header_value(kind as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len());
    }
}

pub fn remove_header(kind: Kind, name: &str) {
    // SAFETY: the name is that long.
    unsafe { abi::remove_header(kind as u32, name.as_ptr(), name.len()) }
}

pub fn write_response(body: &[u8]) {
    // SAFETY: the body is that long.
    unsafe { abi::write_body(1, body.as_ptr(), body.len()) }
}

pub fn status() -> u32 {
    // SAFETY: it takes nothing.
    unsafe { abi::get_status_code() }
}

pub fn set_status(status: u32) {
    // SAFETY: it takes a number.
    unsafe { abi::set_status_code(status) }
}

/// A value of the host's: first how long it is, which writes nothing, then the value.
fn value(get: impl Fn(*mut u8, usize) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; get(std::ptr::null_mut(), 0)];
    let len = get(bytes.as_mut_ptr(), bytes.len());
    bytes.truncate(len);
    bytes
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

//! The imports of the ABI, as they are, and with Rust's types.

/// The functions as guests import them. Every parameter can be wrong on purpose.
pub(crate) mod raw {
    #[link(wasm_import_module = "http_handler")]
    unsafe extern "C" {
        pub(crate) safe fn enable_features(features: u32) -> u32;
        pub(crate) safe fn get_config(buf: u32, limit: u32) -> u32;
        pub(crate) safe fn log(level: i32, message: u32, len: u32);
        pub(crate) safe fn log_enabled(level: i32) -> u32;
        pub(crate) safe fn get_header_names(kind: u32, buf: u32, limit: u32) -> u64;
        pub(crate) safe fn get_header_values(
            kind: u32,
            name: u32,
            name_len: u32,
            buf: u32,
            limit: u32,
        ) -> u64;
        pub(crate) safe fn set_header_value(
            kind: u32,
            name: u32,
            name_len: u32,
            value: u32,
            value_len: u32,
        );
        pub(crate) safe fn add_header_value(
            kind: u32,
            name: u32,
            name_len: u32,
            value: u32,
            value_len: u32,
        );
        pub(crate) safe fn remove_header(kind: u32, name: u32, name_len: u32);
        pub(crate) safe fn read_body(kind: u32, buf: u32, limit: u32) -> u64;
        pub(crate) safe fn write_body(kind: u32, body: u32, len: u32);
        pub(crate) safe fn get_method(buf: u32, limit: u32) -> u32;
        pub(crate) safe fn set_method(method: u32, len: u32);
        pub(crate) safe fn get_uri(buf: u32, limit: u32) -> u32;
        pub(crate) safe fn set_uri(uri: u32, len: u32);
        pub(crate) safe fn get_protocol_version(buf: u32, limit: u32) -> u32;
        pub(crate) safe fn get_source_addr(buf: u32, limit: u32) -> u32;
        pub(crate) safe fn get_status_code() -> u32;
        pub(crate) safe fn set_status_code(status: u32);
    }
}

/// Where something is, and its length.
pub(crate) fn at(bytes: &[u8]) -> (u32, u32) {
    (bytes.as_ptr() as u32, bytes.len() as u32)
}

/// What a function wrote into a buffer of this size, with what it returned; `None` if it wrote nothing.
/// Traps if it wrote more than it may.
pub(crate) fn filled(limit: u32, get: impl FnOnce(u32, u32) -> u64) -> (u64, Option<Vec<u8>>) {
    const NOTHING: u8 = 0xaa;
    let mut buf = vec![NOTHING; limit as usize + 1];
    // The host writes behind the compiler's back.
    let buf_ref: &mut [u8] = std::hint::black_box(&mut buf);
    let result = get(buf_ref.as_mut_ptr() as u32, limit);
    let buf = std::hint::black_box(buf);
    let len = result as u32 as usize;
    let written = buf.iter().rposition(|byte| *byte != NOTHING).map_or(0, |last| last + 1);
    assert!(written <= len && written <= limit as usize, "the host wrote {written} bytes");
    (result, (len <= limit as usize).then(|| buf[..len].to_vec()))
}

/// The first value of a request's header.
pub(crate) fn request_header(name: &str) -> Option<String> {
    let (name, name_len) = at(name.as_bytes());
    let get = |buf, limit| raw::get_header_values(0, name, name_len, buf, limit);
    let needed = get(0, 0);
    let (_, values) = filled(needed as u32, get);
    let values = String::from_utf8(values?).expect("text");
    values.split_terminator('\0').next().map(str::to_owned)
}

/// Reads once: whether that was the end, and what came.
pub(crate) fn read(kind: u32, limit: u32) -> (bool, Vec<u8>) {
    let (result, bytes) = filled(limit, |buf, limit| raw::read_body(kind, buf, limit));
    ((result >> 32) == 1, bytes.expect("no more than the limit"))
}

//! Host calls of an http-wasm guest.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millpond_fuzz::http_wasm(data));

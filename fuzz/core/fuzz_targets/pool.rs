//! Bytes as operations on a pool.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millpond_fuzz_core::pool(data));

//! Builds the guest whose host calls a fuzzer spells.

use std::path::Path;

fn main() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/p2");
    let wasm = millpond_build_guest::build(&guest, "millpond-fuzz-guest-p2");
    println!("cargo::rustc-env=FUZZ_GUEST_P2={}", wasm.display());
}

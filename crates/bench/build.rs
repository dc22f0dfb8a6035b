//! Builds the guest whose start is measured. The other guests are those of the tests.

use std::path::Path;

fn main() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/large");
    let wasm = millpond_build_guest::build(&guest, "millpond-bench-guest-large");
    println!("cargo::rustc-env=GUEST_LARGE={}", wasm.display());
}

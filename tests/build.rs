//! Builds the guests that the tests serve.

use std::path::Path;

fn main() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    for version in ["p2", "p3"] {
        let guest = format!("millpond-test-guest-{version}");
        let wasm = millpond_build_guest::build(&guests.join(version), &guest);
        println!("cargo::rustc-env=GUEST_{}={}", version.to_uppercase(), wasm.display());
    }
    let guest = guests.join("http-wasm");
    let wasm = millpond_build_guest::build_module(&guest, "millpond-test-guest-http-wasm");
    println!("cargo::rustc-env=GUEST_HTTP_WASM={}", wasm.display());
}

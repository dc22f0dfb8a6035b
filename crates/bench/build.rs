//! Builds the guests that are measured. The others are those of the tests.

use std::path::Path;

fn main() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    for name in ["guard-p2", "hello-p2", "hello-p3", "large"] {
        let package = format!("millpond-bench-guest-{name}");
        let wasm = millpond_build_guest::build(&guests.join(name), &package);
        let variable = name.replace('-', "_").to_uppercase();
        println!("cargo::rustc-env=GUEST_{variable}={}", wasm.display());
    }
}

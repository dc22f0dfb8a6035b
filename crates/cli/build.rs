//! Builds the demo component that `millpond serve` shows when it is given none.

use std::path::Path;

fn main() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guests/demo");
    let wasm = millpond_build_guest::build(&demo, "millpond-demo");
    println!("cargo::rustc-env=MILLPOND_DEMO={}", wasm.display());
}

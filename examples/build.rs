//! Builds the demo component, which the examples serve unless they are given another.

use std::path::Path;

fn main() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/demo");
    let wasm = millpond_build_guest::build(&demo, "millpond-demo");
    println!("cargo::rustc-env=MILLPOND_DEMO={}", wasm.display());
}

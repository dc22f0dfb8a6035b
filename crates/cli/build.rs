//! Finds the demo component that `millpond serve` shows when it is given none: builds it, or, in a package that was
//! published, takes the one in it. A package holds no other package, so it cannot have the demo's source.

use std::path::Path;

fn main() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packaged = own.join("demo.wasm");
    let wasm = if packaged.exists() {
        println!("cargo::rerun-if-changed={}", packaged.display());
        packaged
    } else {
        millpond_build_guest::build(&own.join("../../examples/guests/demo"), "millpond-demo")
    };
    println!("cargo::rustc-env=MILLPOND_DEMO={}", wasm.display());
}

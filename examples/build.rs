//! Builds the guests that the examples run unless they are given another.

use std::path::Path;

fn main() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let demo = millpond_build_guest::build(&guests.join("demo"), "millpond-demo");
    println!("cargo::rustc-env=MILLPOND_DEMO={}", demo.display());
    let guard = millpond_build_guest::build_module(&guests.join("guard"), "millpond-guard");
    println!("cargo::rustc-env=MILLPOND_GUARD={}", guard.display());
}

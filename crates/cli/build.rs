//! Finds the demo component that `millpond serve` shows when it is given none: builds it, or, in a published package, which
//! cannot hold another package's source, takes the one in it.

use std::path::Path;

fn main() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = own.join("../../examples/guests/demo");
    let in_repository = source.exists();
    let wasm = if in_repository {
        millpond_build_guest::build(&source, "millpond-demo")
    } else {
        let packaged = own.join("demo.wasm");
        if !packaged.exists() {
            println!(
                "cargo::error=the package has no demo.wasm: see Publishing in CONTRIBUTING.md"
            );
        }
        packaged
    };
    println!("cargo::rustc-env=MILLPOND_DEMO={}", wasm.display());

    // The workspace's release profile has line tables of all that is monomorphised here: twice as large as the code. What
    // prints a backtrace can read them like this, too. A package has no such profile, and is linked by who knows what.
    let is = |name, value| std::env::var(name).is_ok_and(|is| is == value);
    let is_gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if in_repository && is_gnu && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--compress-debug-sections=zlib");
    }
}

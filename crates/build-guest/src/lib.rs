//! Builds WebAssembly guests from build scripts.
//!
//! Some crates here need a component at hand: the command line tool embeds a demo, the tests run
//! guests which misbehave on request. Compiled components do not belong into the repository: they
//! cannot be reviewed, and they go stale. Running a second build by hand before the first one works
//! is a nuisance. So the guests are ordinary crates beside the workspace, each with its own
//! `Cargo.lock`, and the build script of the crate that needs a guest builds it:
//!
//! ```no_run
//! // build.rs
//! use std::path::Path;
//!
//! let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guests/demo");
//! let wasm = millpond_build_guest::build(&guest, "millpond-demo");
//! println!("cargo::rustc-env=DEMO_WASM={}", wasm.display());
//! ```
//!
//! after which `include_bytes!(env!("DEMO_WASM"))` embeds it. This runs a cargo inside a cargo, and
//! most of the code below keeps the outer one from leaking into the inner one.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

/// What a guest becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Artifact {
    /// A component, for wasi:http.
    Component,
    /// A core module, for http-wasm.
    Module,
}

impl Artifact {
    /// The target it is built for.
    const fn target(self) -> &'static str {
        match self {
            Self::Component => "wasm32-wasip2",
            Self::Module => "wasm32-wasip1",
        }
    }
}

/// Variables of the outer build which must not reach the inner one.
///
/// - The wrappers: `cargo clippy` and coverage tools put themselves in front of rustc. They would
///   lint or instrument the guest, and clippy's wrapper produces no wasm at all.
/// - The flags: those of the outer build are for the host (`-C target-cpu=native`, a linker,
///   sanitizers, coverage) and mostly make no sense, or do not even link, on wasm.
/// - `CARGO_BUILD_TARGET`: the target is given on the command line, but this one would also move
///   the guest's own build scripts, if it has some.
const NOT_INHERITED: &[&str] = &[
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
];

/// Builds the guest crate in `manifest_dir` in release mode and returns the path of its component.
///
/// `artifact` is the name of the guest's package (or of its library, if that has another one).
/// The build script runs again when the guest's `Cargo.toml`, `Cargo.lock` or `src` change.
///
/// This is for build scripts and behaves like one: what goes wrong is reported as a build error,
/// and the process ends.
pub fn build(manifest_dir: &Path, artifact: &str) -> PathBuf {
    build_for(Artifact::Component, manifest_dir, artifact)
}

/// The same for a guest that is to be a core module.
///
/// ```no_run
/// # use std::path::Path;
/// let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guests/guard");
/// let wasm = millpond_build_guest::build_module(&guest, "millpond-guard");
/// println!("cargo::rustc-env=GUARD_WASM={}", wasm.display());
/// ```
pub fn build_module(manifest_dir: &Path, artifact: &str) -> PathBuf {
    build_for(Artifact::Module, manifest_dir, artifact)
}

fn build_for(kind: Artifact, manifest_dir: &Path, artifact: &str) -> PathBuf {
    let target = kind.target();
    // First of all, so that a failed build is tried again when the guest has been mended.
    for input in ["Cargo.toml", "Cargo.lock", "src"] {
        println!("cargo::rerun-if-changed={}", manifest_dir.join(input).display());
    }
    if !manifest_dir.join("Cargo.toml").is_file() {
        fail(&format!("there is no guest crate in {}", manifest_dir.display()));
    }
    ensure_target(target);

    // A target directory of its own: the outer cargo holds the lock of the usual one until this
    // build script is done, so sharing it would be a deadlock. Guests of the same build script
    // share this one and with it the compiled dependencies.
    let target_dir = PathBuf::from(required("OUT_DIR")).join("guests");

    let mut cargo = Command::new(required("CARGO"));
    cargo
        // As if the guest were built by hand, so that the same `.cargo/config.toml` counts.
        .current_dir(manifest_dir)
        .args(["build", "--release", "--locked", "--target", target])
        .env("CARGO_TARGET_DIR", &target_dir)
        // The same again, for those who configured one build directory for everything.
        .env("CARGO_BUILD_BUILD_DIR", &target_dir)
        // Whatever is printed to standard output here, the outer cargo takes for instructions.
        .stdout(Stdio::null());
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    // RUSTUP_TOOLCHAIN and RUSTC stay: both builds use the same compiler. So does the jobserver in
    // CARGO_MAKEFLAGS: both together use no more cores than the outer one was allowed to.

    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!(
            "building the guest in {} failed ({status}): see its output below",
            manifest_dir.display()
        )),
        Err(error) => fail(&format!("cannot run {}: {error}", required("CARGO").display())),
    }

    let file = format!("{}.wasm", artifact.replace('-', "_"));
    let wasm = target_dir.join(target).join("release").join(file);
    if !wasm.is_file() {
        fail(&format!(
            "the guest in {} was built, but {} is not there: is `{artifact}` its name, and is it a cdylib?",
            manifest_dir.display(),
            wasm.display()
        ));
    }
    wasm
}

/// Adds the target to the toolchain if it is missing.
///
/// `rust-toolchain.toml` names the target, so rustup normally installed it with the compiler. It is
/// missing with another toolchain (`cargo +nightly`), or with one that rustup did not install.
fn ensure_target(target: &str) {
    if has_target(target) {
        return;
    }
    let toolchain = env::var("RUSTUP_TOOLCHAIN").ok();
    let mut args = vec!["target", "add", target];
    if let Some(toolchain) = &toolchain {
        args.extend(["--toolchain", toolchain]);
    }
    let added = Command::new("rustup").args(&args).stdout(Stdio::null()).status();

    // Ask again instead of trusting the status: another build script may have been quicker.
    if has_target(target) {
        return;
    }
    let command = format!("rustup {}", args.join(" "));
    let why = match added {
        Ok(status) => format!("`{command}` did not install it ({status})"),
        Err(error) => format!("rustup could not be run to install it ({error})"),
    };
    fail(&format!(
        "the compiler has no standard library for {target}, and {why}. Run `{command}`, or install \
         the target the way your distribution of Rust does it."
    ));
}

/// Whether the compiler has a standard library for the target.
fn has_target(target: &str) -> bool {
    let output = Command::new(required("RUSTC"))
        .args(["--print", "target-libdir", "--target", target])
        .output();
    match output {
        // rustc tells where the library would be, whether or not it is there.
        Ok(output) if output.status.success() => {
            Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
        }
        _ => false,
    }
}

/// A variable which cargo sets for every build script.
fn required(name: &str) -> OsString {
    env::var_os(name)
        .unwrap_or_else(|| fail(&format!("{name} is not set: this has to run in a build script")))
}

/// Ends the build script with a message.
fn fail(message: &str) -> ! {
    // One line, as cargo prints only the first one. No panic: a backtrace of the build script does
    // not help with a compiler that lacks a target.
    println!("cargo::error={message}");
    process::exit(1);
}

//! The binary `millpond`; everything is in the library beside it, where fuzzers reach it.

fn main() -> std::process::ExitCode {
    millpond_cli::main()
}

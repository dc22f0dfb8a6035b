//! The binary `millpond`; everything is in the library beside it, where fuzzers reach it.

/// What guests made the host hold goes back to the system when they end; the C library's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    millpond_cli::main()
}

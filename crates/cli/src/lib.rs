//! The command `millpond`: serves a `wasi:http` component from a pool of WebAssembly instances.
//!
//! A start goes through four steps, each of which may refuse it with one line on stderr: `config::args` reads the
//! command line, `config::settings` lays it over the configuration file and the defaults, `process::log` sets up logging,
//! and `serve` listens until a signal ends it.

mod admin;
mod app;
mod config;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod listen;
mod process;
mod serve;
mod upstream;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::config::args::{self, Cli, Command};
use crate::config::settings::Settings;
use crate::error::StartError;
use crate::process::{log, status};

/// How long blocking work that is no longer waited for may hold up the exit.
const LINGER: Duration = Duration::from_millis(100);

/// How long the last lines may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the command line of this process to its end.
pub fn main() -> ExitCode {
    let Command::Serve(flags) = match Cli::try_parse() {
        Ok(cli) => cli.command,
        // Help is no error, and the answer to no words at all.
        Err(help) if !help.use_stderr() || args::is_help(&help) => help.exit(),
        Err(error) => return refuse(&args::one_line(&error)),
    };
    status::log_panics();
    match Settings::resolve(*flags).and_then(start) {
        Ok(()) => {
            status::flush(LAST_WORDS);
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &StartError) -> ExitCode {
    status::print_last_status(&format!("error: {error}"));
    error.exit_code()
}

fn start(settings: Settings) -> Result<(), StartError> {
    log::init(&settings.log, settings.log_format)?;

    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.threads {
        builder.worker_threads(threads);
    }
    let runtime = builder
        .enable_all()
        .thread_name("millpond")
        .build()
        .map_err(|error| StartError::failed(format!("cannot start the runtime: {error}")))?;

    let result = runtime.block_on(serve::run(settings));
    runtime.shutdown_timeout(LINGER);
    result
}

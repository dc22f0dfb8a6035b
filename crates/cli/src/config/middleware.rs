//! `--middleware MODULE` and `--middleware-config FILE`: which modules, in which order, and whose configuration is whose.
//!
//! A configuration belongs to the module before it. clap keeps the two flags apart and knows the place of each value, so
//! the pairs are made here. In the configuration file each module is a table with both.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};
use serde::Deserialize;

use crate::config::values::path;

const MODULE: &str = "middleware";
const CONFIG: &str = "middleware-config";

/// A module that requests pass, and the file that it gets as its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Middleware {
    #[serde(deserialize_with = "path")]
    pub(crate) module: PathBuf,
    #[serde(default, deserialize_with = "path")]
    pub(crate) config: Option<PathBuf>,
}

/// All of them, the outermost first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct MiddlewareFlags(pub(crate) Vec<Middleware>);

impl Args for MiddlewareFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str, value: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name(value)
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help_heading("Middleware")
        };
        let module = flag(MODULE, "MODULE")
            .help("Let requests pass this http-wasm guest first (repeatable)")
            .long_help(
                "Let requests pass this http-wasm guest first (repeatable, in this order)\n\nWhat is said below of \
                 instances holds for its pool too, unless it says \"of the component\". In --config: [[middleware]] \
                 with module and config.",
            );
        let config =
            flag(CONFIG, "FILE").help("A file whose bytes the --middleware before this gets");
        command.arg(module).arg(config)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for MiddlewareFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut all = Vec::new();
        let mut given = [MODULE, CONFIG].map(|name| places(matches, name)).concat();
        given.sort_unstable_by_key(|(place, ..)| *place);
        for (_, name, path) in given {
            if name == MODULE {
                all.push(Middleware { module: path, config: None });
                continue;
            }
            let config = path.display();
            let Some(Middleware { module, config: before }) = all.last_mut() else {
                return Err(refuse(format!(
                    "--middleware-config {config}: expected a --middleware before it, to which it belongs"
                )));
            };
            if let Some(before) = before {
                return Err(refuse(format!(
                    "--middleware-config {config}: --middleware {} has {} already, expected one for each",
                    module.display(),
                    before.display()
                )));
            }
            *before = Some(path);
        }
        Ok(Self(all))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of one flag, each with its place on the command line.
fn places(matches: &ArgMatches, name: &'static str) -> Vec<(usize, &'static str, PathBuf)> {
    let (indices, values) = (matches.indices_of(name), matches.get_many::<PathBuf>(name));
    let pairs = indices.into_iter().flatten().zip(values.into_iter().flatten());
    pairs.map(|(place, path)| (place, name, path.clone())).collect()
}

fn refuse(message: String) -> Error {
    Error::raw(ErrorKind::ArgumentConflict, message)
}

//! Why there is no pool.

use std::fmt;
use std::sync::Arc;

use millpond_engine::{chain, one_line};
use millpond_pool_core::BudgetError;

use crate::interfaces::InterfacesError;
use crate::records::DirError;

/// Why there is no pool. Its text is one line: what, where, and what was expected.
#[derive(Clone)]
pub struct BuildError {
    name: String,
    problem: Arc<Problem>,
}

pub(super) enum Problem {
    Read(std::io::Error),
    Text(wat::Error),
    Interfaces(InterfacesError),
    Missing(Vec<String>),
    Engine(wasmtime::Error),
    Compile(wasmtime::Error),
    Link(wasmtime::Error),
    Budget(BudgetError),
    Records(DirError),
}

impl BuildError {
    pub(super) fn new(name: &str, problem: Problem) -> Self {
        Self { name: name.to_owned(), problem: Arc::new(problem) }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, problem } = self;
        match &**problem {
            Problem::Read(error) => write!(f, "cannot read {name}: {error}"),
            Problem::Text(error) => write!(f, "{name} is no component: {}", one_line(error)),
            Problem::Interfaces(error) => write!(f, "{name}: {error}"),
            Problem::Missing(missing) => {
                write!(f, "{name} has unsupported imports: {}", missing.join(", "))
            }
            Problem::Engine(error) => write!(f, "no engine for {name}: {}", chain(error)),
            Problem::Compile(error) => write!(f, "cannot compile {name}: {}", chain(error)),
            Problem::Link(error) => write!(f, "cannot link {name}: {}", chain(error)),
            Problem::Budget(error) => write!(f, "no room for {name}: {error}"),
            Problem::Records(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildError({self})")
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.problem {
            Problem::Read(error) => Some(error),
            Problem::Interfaces(error) => Some(error),
            Problem::Budget(error) => Some(error),
            _ => None,
        }
    }
}

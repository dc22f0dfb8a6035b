//! Why there is no pool, or no other module in it.

use std::fmt;
use std::sync::Arc;

use millpond_engine::{chain, one_line};

use crate::module::inspect::ModuleError;

/// Why there is no pool, or why it goes on with the module that it had. Its text is one line: what, where,
/// and what was expected. [`source`](std::error::Error::source) is the [`std::io::Error`] of a file that could
/// not be read, and else nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use millpond_http_wasm::HttpWasmPool;
///
/// let error = HttpWasmPool::builder().without_cache().from_bytes("(module)").await.unwrap_err();
/// assert!(error.to_string().starts_with("the module is no http-wasm guest"));
/// # }
/// ```
#[derive(Clone)]
pub struct BuildError {
    name: String,
    problem: Arc<Problem>,
}

pub(crate) enum Problem {
    Read(std::io::Error),
    Text(wat::Error),
    Module(ModuleError),
    Engine(wasmtime::Error),
    Compile(wasmtime::Error),
    /// A guest was started, to see that it can be.
    Start(wasmtime::Error),
    Slow(std::time::Duration),
    /// Others had the allocator's places for so long.
    NoRoom(std::time::Duration),
    Panicked(String),
}

impl BuildError {
    pub(crate) fn new(name: &str, problem: Problem) -> Self {
        Self { name: name.to_owned(), problem: Arc::new(problem) }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, problem } = self;
        match &**problem {
            Problem::Read(error) => write!(f, "cannot read {name}: {error}"),
            Problem::Text(error) => write!(f, "{name} is no module: {}", one_line(error)),
            Problem::Module(error) => write!(f, "{name} {error}"),
            Problem::Engine(error) => write!(f, "no engine for {name}: {}", chain(error)),
            Problem::Compile(error) => write!(f, "cannot compile {name}: {}", chain(error)),
            Problem::Start(error) => {
                write!(f, "{name} does not start: {}", one_line(error.root_cause()))
            }
            Problem::Slow(timeout) => {
                write!(f, "{name} does not start: it takes longer than start_timeout, {timeout:?}")
            }
            Problem::NoRoom(timeout) => {
                write!(
                    f,
                    "cannot try {name}: no room for one more instance for start_timeout, {timeout:?}"
                )
            }
            Problem::Panicked(message) => write!(f, "{name}: {message}"),
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
            _ => None,
        }
    }
}

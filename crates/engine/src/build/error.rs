//! Why there is no pool.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::failure::{chain, one_line};

/// Why there is no pool, or why one goes on with the module that it had. Its text is one line: what, where, and what was
/// expected. [`source`](Error::source) is the cause where that is more than words: the [`std::io::Error`] of a file that
/// could not be read, what is wrong with a component's interfaces, a budget's want of room.
///
/// ```
/// use millpond_engine::{BuildError, BuildErrorKind};
///
/// fn hint(error: &BuildError) -> &'static str {
///     match error.kind() {
///         BuildErrorKind::Read => "is the path right?",
///         BuildErrorKind::Guest => "is it built for this host?",
///         _ => "see the log",
///     }
/// }
/// # let error = BuildError::new(BuildErrorKind::Guest, "app.wasm is no component");
/// # assert_eq!(hint(&error), "is it built for this host?");
/// ```
#[derive(Clone)]
pub struct BuildError {
    kind: BuildErrorKind,
    text: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kept a pool from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// Its file cannot be read.
    Read,
    /// It is no guest for this kind of pool: no WebAssembly, or its imports or exports are not those that are served.
    Guest,
    /// wasmtime makes no engine with these limits or this cache.
    Engine,
    /// It cannot be compiled or linked.
    Compile,
    /// A guest was started, to see that it can be, and could not.
    Start,
    /// A budget, or the allocator, has no room for what is asked.
    NoRoom,
    /// A directory for records cannot be written to.
    Records,
}

impl BuildError {
    /// For backends: makes an error of a line of text.
    pub fn new(kind: BuildErrorKind, text: impl fmt::Display) -> Self {
        Self { kind, text: text.to_string(), source: None }
    }

    /// For backends: adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// For backends: the file `name` cannot be read.
    pub fn read(name: &str, error: std::io::Error) -> Self {
        let text = format!("cannot read {name}: {error}");
        Self::new(BuildErrorKind::Read, text).with_source(error)
    }

    /// For backends: what is in `name` is not what was `expected`, neither in the binary nor in the text format.
    pub fn not_a_guest(name: &str, expected: &str, error: impl fmt::Display) -> Self {
        let error = one_line(error);
        Self::new(BuildErrorKind::Guest, format_args!("{name} is no {expected}: {error}"))
    }

    /// For backends: there is no engine for `name`.
    pub fn engine(name: &str, error: &wasmtime::Error) -> Self {
        let error = chain(error);
        Self::new(BuildErrorKind::Engine, format_args!("no engine for {name}: {error}"))
    }

    /// For backends: `name` cannot be compiled.
    pub fn compile(name: &str, error: &wasmtime::Error) -> Self {
        let error = chain(error);
        Self::new(BuildErrorKind::Compile, format_args!("cannot compile {name}: {error}"))
    }

    /// For backends: `name` cannot be linked.
    pub fn link(name: &str, error: &wasmtime::Error) -> Self {
        let error = chain(error);
        Self::new(BuildErrorKind::Compile, format_args!("cannot link {name}: {error}"))
    }

    /// Returns what kept the pool from being made.
    pub fn kind(&self) -> BuildErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildError({:?}: {self})", self.kind)
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source: &(dyn Error + 'static) = self.source.as_deref()?;
        Some(source)
    }
}

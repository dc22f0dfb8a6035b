//! What a component exports and needs, found out before anything is compiled.
//!
//! Compiling a guest takes seconds. They are wasted if it turns out afterwards that an import is unsupported, and
//! the linker then names one missing import at a time. So the bytes are read first: only the sections of the
//! component layer, never the code, which takes milliseconds. What Millpond offers comes from the WIT files in
//! `wit/`, embedded in this crate: guests are checked against the same folder they are written against.
//!
//! Names are compared, signatures are not: a function whose parameters differ is found by the linker, later.
//! Versions match as in wasmtime's linker: `0.2.0` and `0.2.12` are one interface, `0.2.12` and `0.3.0` are two,
//! and a pre-release matches nothing but itself.

use std::fmt;
use std::sync::Arc;

mod read;
#[cfg(test)]
mod tests;
mod types;
mod worlds;

use worlds::Worlds;

/// What a component exports and needs, read from its bytes without compiling it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Interfaces {
    imports: Vec<Import>,
    exports: Vec<Export>,
    uses_async: bool,
}

impl Interfaces {
    /// Reads the component layer of `wasm`: the binary format, not the text format.
    ///
    /// This does not validate the component; compiling does.
    ///
    /// # Errors
    ///
    /// If the bytes are no component, or end too early; see [`InterfacesError`].
    pub fn read(wasm: &[u8]) -> Result<Self, InterfacesError> {
        read::component(wasm)
    }

    /// The version of `wasi:http` this component answers, if it exports a handler. Where it exports both, 0.3 wins.
    pub fn version(&self) -> Option<HttpVersion> {
        let worlds = Worlds::embedded();
        let instances = self.exports.iter().filter(|export| export.is_instance);
        instances.filter_map(|export| worlds.handler(&export.name)).max()
    }

    /// As [`version`](Self::version), with an error that says what is exported instead.
    ///
    /// # Errors
    ///
    /// [`InterfacesError::NoHandler`] if no handler is exported.
    pub fn require_version(&self) -> Result<HttpVersion, InterfacesError> {
        self.version().ok_or_else(|| InterfacesError::NoHandler {
            exports: self.exports().map(str::to_owned).collect(),
        })
    }

    /// Whether the component, or one nested in it, uses the asynchronous part of the component model: async
    /// functions, streams, futures, or any built-in that goes with them. It then needs an engine with concurrency
    /// support.
    pub fn uses_async(&self) -> bool {
        self.uses_async
    }

    /// Whether `wit/` has an interface of this name, or a compatible version of it.
    pub fn knows(interface: &str) -> bool {
        Worlds::embedded().find(interface).is_some()
    }

    /// Returns the names of the component's imports, in its order and spelling.
    pub fn imports(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().map(|import| import.name.as_str())
    }

    /// Returns the names of the component's exports, in its order and spelling.
    pub fn exports(&self) -> impl Iterator<Item = &str> {
        self.exports.iter().map(|export| export.name.as_str())
    }

    /// Returns the unsupported imports, in the component's order: an interface, or `interface#item` where the
    /// interface is known and lacks that function or resource.
    ///
    /// `provided` says whether the host links an interface at all. For an interface described in `wit/`, it is
    /// given the name there (`wasi:config/store@0.2.0-rc.1`), whichever compatible version the guest wants. For
    /// any other, it is given the guest's own name, so that a host can vouch for interfaces of its own. What is
    /// inside such an unknown interface is left to the linker.
    pub fn missing(&self, provided: impl Fn(&str) -> bool) -> Vec<String> {
        let worlds = Worlds::embedded();
        let mut missing = Vec::new();
        for Import { name, needs, types_only } in &self.imports {
            match worlds.find(name) {
                Some((known, items)) if provided(known) => {
                    let lacking = needs.iter().filter(|need| !items.contains(*need));
                    missing.extend(lacking.map(|need| format!("{name}#{need}")));
                }
                None if provided(name) => {}
                // Types alone need no definition: the linker does not ask for one either.
                _ if *types_only => {}
                Some(_) | None => missing.push(name.clone()),
            }
        }
        missing
    }
}

/// One import of the component: an interface, mostly.
#[derive(Clone, Debug)]
struct Import {
    name: String,
    /// The functions and resources the host has to define in it. Shared, because several imports may have one type.
    needs: Arc<[String]>,
    /// An interface of which only types are used.
    types_only: bool,
}

#[derive(Clone, Debug)]
struct Export {
    name: String,
    /// A function or a type may carry the name of a handler and still is none.
    is_instance: bool,
}

/// The version of `wasi:http` a guest answers. The later one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpVersion {
    /// `wasi:http/incoming-handler@0.2`
    P2,
    /// `wasi:http/handler@0.3`
    P3,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpVersion::P2 => "wasi:http 0.2",
            HttpVersion::P3 => "wasi:http 0.3",
        })
    }
}

/// Why a file is no guest that can be served. Each message is one line: what, where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterfacesError {
    /// There is nothing to read.
    #[error("empty: 0 bytes, expected a WebAssembly component")]
    Empty,
    /// The file is something else.
    #[error("not WebAssembly: starts with \"{start}\", expected \"\\0asm\" and a component")]
    NotWasm {
        /// The first bytes, escaped.
        start: String,
    },
    /// WebAssembly, but of the layer below.
    #[error(
        "a core module, expected a component: build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// WebAssembly of a layer or version this reader does not know.
    #[error(
        "unknown binary format: version {version}, layer {layer}, expected a component (version 13, layer 1)"
    )]
    UnknownLayer {
        /// Bytes 4 and 5.
        version: u16,
        /// Bytes 6 and 7.
        layer: u16,
    },
    /// The bytes end in the middle of something.
    #[error("truncated: {len} bytes, expected more for what begins at byte {at}")]
    Truncated {
        /// How many bytes there are.
        len: usize,
        /// Where the unfinished part begins.
        at: usize,
    },
    /// A component whose sections do not make sense.
    #[error("malformed component: {what} at byte {at}")]
    Malformed {
        /// What was wrong.
        what: String,
        /// Where.
        at: usize,
    },
    /// A component that does not answer HTTP.
    #[error(
        "no HTTP handler: exports {}, expected wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3",
        list(exports)
    )]
    NoHandler {
        /// What is exported instead.
        exports: Vec<String>,
    },
}

/// The first few names: the line goes to a terminal, and a component may export thousands.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "nothing".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

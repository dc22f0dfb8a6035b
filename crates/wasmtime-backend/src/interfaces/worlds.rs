//! What Millpond offers to guests, as `wit/` says it.
//!
//! An interface counts as offered if one of the worlds in `wit/` imports it: the dependency folders describe more
//! than is linked. Items marked `@unstable` are left out, as they are in wasmtime's linker unless it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use wit_parser::{Resolve, SourceMap, TypeDefKind, UnresolvedPackageGroup, WorldItem};

use super::HttpVersion;

/// The worlds in `wit/`, reduced to the names in them.
pub(super) struct Worlds {
    /// For each interface the worlds import, its functions and resources.
    imports: BTreeMap<String, BTreeSet<String>>,
    handlers: Vec<(String, HttpVersion)>,
}

impl Worlds {
    /// The worlds this crate was built with, parsed on first use.
    pub(super) fn embedded() -> &'static Worlds {
        static WORLDS: OnceLock<Worlds> = OnceLock::new();
        WORLDS.get_or_init(Worlds::parse)
    }

    /// The interface that satisfies an import of `name`, by its name in `wit/`, with its functions and resources.
    pub(super) fn find(&self, name: &str) -> Option<(&str, &BTreeSet<String>)> {
        let exact = self.imports.get_key_value(name);
        let found =
            exact.or_else(|| self.imports.iter().find(|(known, _)| compatible(known, name)));
        found.map(|(known, items)| (known.as_str(), items))
    }

    /// Which handler an export of `name` is, if it is one.
    pub(super) fn handler(&self, name: &str) -> Option<HttpVersion> {
        let mut handlers = self.handlers.iter();
        handlers.find(|(known, _)| compatible(known, name)).map(|(_, version)| *version)
    }

    /// The names of the interfaces that may be imported.
    #[cfg(test)]
    pub(super) fn imports(&self) -> impl Iterator<Item = &str> {
        self.imports.keys().map(String::as_str)
    }

    fn parse() -> Worlds {
        let mut worlds = Worlds { imports: BTreeMap::new(), handlers: Vec::new() };
        // One resolve for both: their dependencies differ in version, so they do not meet.
        let mut resolve = Resolve::default();
        for (version, folder) in [(HttpVersion::P2, &P2), (HttpVersion::P3, &P3)] {
            let deps = folder.deps.iter().map(|files| group(files)).collect();
            let package = resolve
                .push_groups(group(folder.world), deps)
                .expect("wit/ is embedded, and a test parses it");
            for world in resolve.packages[package].worlds.values() {
                worlds.add(&resolve, &resolve.worlds[*world], version);
            }
        }
        worlds
    }

    fn add(&mut self, resolve: &Resolve, world: &wit_parser::World, version: HttpVersion) {
        for (key, item) in &world.imports {
            let WorldItem::Interface { id, .. } = item else { continue };
            let interface = &resolve.interfaces[*id];
            let resources = interface.types.iter().filter(|(_, ty)| {
                // A resource that is merely `use`d is defined by the interface it comes from.
                matches!(resolve.types[**ty].kind, TypeDefKind::Resource)
            });
            let items = interface.functions.keys().chain(resources.map(|(name, _)| name));
            self.imports.insert(resolve.name_world_key(key), items.cloned().collect());
        }
        for (key, item) in &world.exports {
            if let WorldItem::Interface { .. } = item {
                self.handlers.push((resolve.name_world_key(key), version));
            }
        }
    }
}

fn group(files: &[(&str, &str)]) -> UnresolvedPackageGroup {
    let mut sources = SourceMap::new();
    for (path, text) in files {
        sources.push_str(path, *text);
    }
    sources
        .parse()
        .unwrap_or_else(|(_, error)| panic!("wit/ is embedded, and a test parses it: {error}"))
}

/// Whether wasmtime's linker takes one of two names for the other.
pub(super) fn compatible(a: &str, b: &str) -> bool {
    a == b || track(a).is_some_and(|track_of_a| track(b) == Some(track_of_a))
}

/// What two versions of a name must share to be compatible: the name up to the first number that is not zero,
/// unless that is the last one. Pre-releases are compatible with nothing.
fn track(name: &str) -> Option<&str> {
    let at = name.find('@')? + 1;
    let (release, _build) = name[at..].split_once('+').unwrap_or((&name[at..], ""));
    let [major, minor, patch] = release.split('.').collect::<Vec<_>>().try_into().ok()?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if ![major, minor, patch].into_iter().all(is_number) {
        return None;
    }
    match (major, minor) {
        ("0", "0") => None,
        ("0", _) => Some(&name[..at + major.len() + 1 + minor.len()]),
        _ => Some(&name[..at + major.len()]),
    }
}

/// One folder of `wit/`: the package with the worlds, and the packages it needs, each with its files.
pub(super) struct Folder {
    pub(super) world: &'static [(&'static str, &'static str)],
    pub(super) deps: &'static [&'static [(&'static str, &'static str)]],
}

macro_rules! wit {
    ($($path:literal),+) => {
        &[$(($path, include_str!(concat!("../../wit/", $path)))),+]
    };
}

pub(super) static P2: Folder = Folder {
    world: wit!("p2/world.wit"),
    deps: &[
        wit!("p2/deps/cli.wit"),
        wit!("p2/deps/clocks.wit"),
        wit!("p2/deps/config/store.wit", "p2/deps/config/world.wit"),
        wit!("p2/deps/filesystem.wit"),
        wit!("p2/deps/http.wit"),
        wit!("p2/deps/io.wit"),
        wit!(
            "p2/deps/keyvalue/atomic.wit",
            "p2/deps/keyvalue/batch.wit",
            "p2/deps/keyvalue/store.wit",
            "p2/deps/keyvalue/watch.wit",
            "p2/deps/keyvalue/world.wit"
        ),
        wit!("p2/deps/random.wit"),
        wit!("p2/deps/sockets.wit"),
    ],
};

pub(super) static P3: Folder = Folder {
    world: wit!("p3/world.wit"),
    deps: &[
        wit!("p3/deps/cli.wit"),
        wit!("p3/deps/clocks.wit"),
        wit!("p3/deps/filesystem.wit"),
        wit!("p3/deps/http.wit"),
        wit!("p3/deps/random.wit"),
        wit!("p3/deps/sockets.wit"),
    ],
};

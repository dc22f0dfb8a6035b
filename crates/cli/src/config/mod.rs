//! What the operator asks for: the command line, the configuration file, and the settings that both make.

pub(crate) mod args;
pub(crate) mod edge;
pub(crate) mod file;
pub(crate) mod groups;
pub(crate) mod header;
pub(crate) mod middleware;
pub(crate) mod origin;
pub(crate) mod settings;
pub(crate) mod values;

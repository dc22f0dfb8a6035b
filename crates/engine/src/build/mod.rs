//! From a guest to a pool: what builders have in common, and why there is no pool.

mod base;
mod error;

pub use base::{BuilderBase, MakeExpiration};
pub use error::{BuildError, BuildErrorKind};

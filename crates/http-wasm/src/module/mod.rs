//! The module that guests are made of: what it exports, and its versions, of which a new one may take over.

pub(crate) mod inspect;
pub(crate) mod registry;
pub(crate) mod version;

//! What a guest is run for: one request at a time, or several.

pub(crate) mod answers;
pub(crate) mod exclusive;
pub(crate) mod normalize;
pub(crate) mod shared;

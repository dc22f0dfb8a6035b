//! What a caller gets: the future of a response, and its body. Both drive the guest that makes it.

pub(crate) mod body;
pub(crate) mod future;

//! The request and the response while a guest works on them: heads, bodies in buffers, and how they are framed.

pub(crate) mod body_buffer;
pub(crate) mod budget;
pub(crate) mod chunks;
pub(crate) mod content_length;
pub(crate) mod exchange;
pub(crate) mod features;
pub(crate) mod forward;
pub(crate) mod framing;
pub(crate) mod merge;
pub(crate) mod trailers;
